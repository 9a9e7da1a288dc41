"""The ServingCheck node: blesses the infrastructure's side of a model, as TFX's InfraValidator does
with a real server.

Knows nothing of accuracy: it asks whether what will be served answers as what was evaluated.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tfx.components.util.model_utils import is_infra_validated
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import path_utils

from components.records.shards import list_shards, read_shards
from components.serving_check.process import Answer, Answers, Requests
from foundation.errors import GauntletError, ProcessDied
from foundation.process import NO_GPU, Child

GOOD = "good"
"""The request that must be answered; all others must be refused."""

SAMPLE = 64
"""Images that are asked for."""

TOLERANCE = 1e-4
"""Largest difference of a logit or a probability between the served and the evaluated model,
relative to the largest logit; float32 sums in another order differ by about a hundredth of it."""

TIMEOUT = 300
"""Seconds in which the fresh process must have answered."""

PROBLEMS = "problems.json"
"""File in the blessing: a list of sentences, empty for a model that may be served."""


@component
def ServingCheck(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    split: Parameter[str],
    blessing: OutputArtifact[InfraBlessing],
    infra_blessing: InputArtifact[InfraBlessing] = None,
) -> None:
    """Asks a fresh process, and blesses when every answer is right and every bad request is
    refused.

    examples: raw examples with PNG images. infra_blessing: answer of TFX's InfraValidator, where
    one ran; where it does not bless, neither does this node.
    """
    path = path_utils.serving_model_path(model.uri)
    records = read_shards(list_shards(artifact_utils.get_split_uri([examples], split)))
    problems = list(find_problems(path, list(records.take(SAMPLE).as_numpy_iterator())))
    if infra_blessing is not None and not is_infra_validated(infra_blessing):
        problems.append("TFX's InfraValidator could not serve the model")
    fileio.makedirs(blessing.uri)
    with fileio.open(os.path.join(blessing.uri, PROBLEMS), "w") as file:
        file.write(json.dumps(problems, indent=2, allow_nan=False))
    with fileio.open(
        os.path.join(blessing.uri, "INFRA_NOT_BLESSED" if problems else "INFRA_BLESSED"), "w"
    ) as file:
        file.write("")
    blessing.set_int_custom_property("blessed", int(not problems))


def read_problems(blessing: str) -> list[str]:
    """What `ServingCheck` found."""
    with fileio.open(os.path.join(blessing, PROBLEMS)) as file:
        return list(json.load(file))


def find_problems(path: str, records: list[bytes]) -> Iterator[str]:
    """What is wrong with a model as a server would load it; a sentence each.

    path: folder of the SavedModel. records: serialized raw examples, with `image` as PNG.
    """
    network = tf_keras.models.load_model(path, compile=False)
    encoded = [
        tf.train.Example.FromString(r).features.feature["image"].bytes_list.value[0]
        for r in records
    ]
    x = np.stack([tf.io.decode_png(image).numpy() for image in encoded]).astype(np.float32) / 255.0
    logits = network(tf.constant(x), training=False).numpy()
    try:
        answers = ask(path, requests_for(encoded, records, x))
    except GauntletError as error:
        yield f"a fresh process cannot load the model: {error}"
        return
    for signature, answered in answers.items():
        yield from problems_of(signature, answered, logits)


def problems_of(
    signature: str, answered: dict[str, Answer] | str, logits: np.ndarray
) -> Iterator[str]:
    """Whether a signature is missing, answers wrongly, or answers what it should refuse."""
    if isinstance(answered, str):
        yield f"signature {signature}: {answered}"
        return
    for kind, answer in answered.items():
        if isinstance(answer, str):  # refused
            if kind == GOOD:
                yield f"signature {signature} answers {len(logits)} images with an error: {answer}"
        elif kind == GOOD:
            yield from differences(signature, answer, logits)
        else:
            yield f"signature {signature} answers {kind} instead of refusing it"


def requests_for(encoded: list[bytes], records: list[bytes], x: np.ndarray) -> Requests:
    """By signature a good request and bad ones, each a batch of strings."""
    larger = tf.io.encode_png(np.zeros((x.shape[1] + 1, *x.shape[2:]), np.uint8)).numpy()
    garbage = b"these bytes are no image"
    return {
        "serving_default": {
            GOOD: encoded,
            "garbage bytes": [garbage],
            "an empty batch": [],
            "an image of another shape": [larger],
        },
        "serialized_examples": {
            GOOD: records,
            "garbage bytes": [garbage],
            "an empty batch": [],
            "an image of another shape": [example(image=larger)],
            "an example without an image": [example()],
        },
        "transformed_examples": {
            GOOD: [example(image=image) for image in x],
            "garbage bytes": [garbage],
            "an empty batch": [],
            "an image of another shape": [example(image=x[0, 1:])],
            "an example without an image": [example()],
        },
    }


def example(image: Any = None) -> bytes:
    """A serialized tf.Example with an image: PNG bytes, or pixels."""
    record = tf.train.Example()
    if isinstance(image, bytes):
        record.features.feature["image"].bytes_list.value.append(image)
    elif image is not None:
        record.features.feature["image"].float_list.value.extend(image.ravel())
    return record.SerializeToString()


def ask(path: str, requests: Requests) -> Answers:
    """The answers of a fresh process; raises GauntletError where it cannot load the model."""
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        child = Child(
            "components.serving_check.process:answers",
            path,
            requests,
            name="it",
            environment=NO_GPU,
            output=noise,
        )
        try:
            return dict(child.result(TIMEOUT))
        except ProcessDied as error:
            noise.seek(0)
            raise ProcessDied(f"{error}: {noise.read().strip()[-300:]}") from error


def differences(signature: str, answer: dict[str, np.ndarray], logits: np.ndarray) -> Iterator[str]:
    """Where the served answer is not what the evaluated logits say."""
    expected = {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits).numpy(),
        "class": logits.argmax(axis=1),
    }
    says = f"signature {signature} gives"
    if not answer.keys() & {"logits", "probabilities"}:
        yield f"{says} {', '.join(answer)}, expected logits or probabilities"
    for name in answer:
        if name not in expected:
            continue
        value, right = answer[name], expected[name]
        if value.shape != right.shape:
            yield f"{says} {name} of shape {value.shape}, expected {right.shape}"
        elif not np.all(np.isfinite(value)):
            yield f"{says} {name} that are not finite"
        elif name == "class":
            if wrong := int(np.sum(value != right)):
                yield f"{says} another class than the evaluated model for {wrong} images"
        else:
            most = float(np.max(np.abs(value - right)))
            if most > TOLERANCE * max(1.0, float(np.max(np.abs(logits)))):
                yield (f"{says} {name} that differ by up to {most:.2g} from the evaluated model's")
