"""The ServingCheck node: blesses the infrastructure's side of a model, as TFX's InfraValidator does
with a real server.

Knows nothing of accuracy: it asks whether what will be served answers as what was evaluated.
"""

import contextlib
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.components.util.model_utils import is_infra_validated
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import io_utils, path_utils

from components.manifest import MODEL_SHA256, digest_of
from components.records.shards import list_shards, read_shards
from components.serving_check.process import Replies, Reply, Requests
from foundation.errors import GauntletError, ProcessDied
from foundation.json import dumps
from foundation.process import NO_GPU, Child
from foundation.sandbox import Sandbox
from foundation.temporary import temporary_folder
from foundation.whole import write_text
from robustness.checks import batches
from trainer.classes import class_names_of
from trainer.models.load import load_export

SAMPLE = 64
"""Images that are asked for."""

TOLERANCE = 1e-4
"""Largest difference of a logit or a probability between the served and the evaluated model,
relative to the largest logit; float32 sums in another order differ by about a hundredth of it."""

TIMEOUT = 300
"""Seconds in which the fresh process must have answered."""

BOMB_SIDE = 23_000
"""Height and width of an image that a file of tens of kilobytes holds: 529 megabytes, decoded."""

MOST_MEGABYTES = 200
"""Memory that a refusal may take."""

OTHER_SHAPE = "an image of another shape"
"""What a model that resizes need not refuse."""

PROBLEMS = "problems.json"
"""File in the blessing: a list of sentences, empty for a model that may be served."""


@component
def ServingCheck(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    split: Parameter[str],
    blessing: OutputArtifact[InfraBlessing],
    resize: Parameter[int] = 0,
    infra_blessing: InputArtifact[InfraBlessing] = None,
) -> None:
    """Asks a fresh process, and blesses when every answer is right, in whatever batch an image
    comes, and every bad request is refused.

    examples: raw examples with PNG images. resize: whether the model brings images of any shape to
    its own, and need not refuse them. infra_blessing: answer of TFX's InfraValidator, where
    one ran; where it does not bless, neither does this node.
    """
    shards = read_shards(list_shards(artifact_utils.get_split_uri([examples], split)))
    records = list(shards.take(SAMPLE).as_numpy_iterator())
    with on_this_machine(path_utils.serving_model_path(model.uri)) as path:
        blessing.set_string_custom_property(MODEL_SHA256, digest_of(path))
        problems = list(find_problems(path, records, bool(resize)))
    if infra_blessing is not None and not is_infra_validated(infra_blessing):
        problems.append("TFX's InfraValidator could not serve the model")
    fileio.makedirs(blessing.uri)
    write_text(os.path.join(blessing.uri, PROBLEMS), dumps(problems))
    with fileio.open(
        os.path.join(blessing.uri, "INFRA_NOT_BLESSED" if problems else "INFRA_BLESSED"), "w"
    ) as file:
        file.write("")
    blessing.set_int_custom_property("blessed", int(not problems))


@contextlib.contextmanager
def on_this_machine(path: str) -> Iterator[str]:
    """The folder of a model, or a copy of one in a store, which the process that is asked does not
    reach."""
    if "://" not in path:
        yield path
        return
    with temporary_folder() as folder:
        copy = str(folder / "model")
        io_utils.copy_dir(path, copy)
        yield copy


def read_problems(blessing: str) -> list[str]:
    """What `ServingCheck` found."""
    with fileio.open(os.path.join(blessing, PROBLEMS)) as file:
        return list(json.load(file))


def find_problems(path: str, records: list[bytes], resize: bool = False) -> Iterator[str]:
    """What is wrong with a model as a server would load it; a sentence each.

    path: folder of the SavedModel. records: serialized raw examples, with `image` as PNG. resize:
    whether the model brings images of any shape to its own.
    """
    network = load_export(path)
    encoded = [
        tf.train.Example.FromString(r).features.feature["image"].bytes_list.value[0]
        for r in records
    ]
    x = np.stack([tf.io.decode_png(image).numpy() for image in encoded]).astype(np.float32) / 255.0
    evaluated = Evaluated(network(tf.constant(x), training=False).numpy(), class_names_of(path))
    requests = requests_for(encoded, records, x)
    if resize:
        take_any_shape(requests)
    try:
        answers = ask(path, requests)
    except GauntletError as error:
        yield f"a fresh process cannot load the model: {error}"
        return
    for signature, answered in answers.items():
        yield from problems_of(signature, answered, evaluated)


@dataclass(frozen=True)
class Refusal:
    """An error instead of an answer. megabytes: memory that it took."""

    message: str
    megabytes: int


Answer = dict[str, np.ndarray] | Refusal
"""By name of the output; or that there is none."""


@dataclass(frozen=True)
class Evaluated:
    """What must be served. logits: of the images. names: of the classes, in label order; none where
    the export has none."""

    logits: np.ndarray
    names: tuple[str, ...] = ()

    def __getitem__(self, places: np.ndarray) -> "Evaluated":
        """The same for some of the images."""
        return Evaluated(self.logits[places], self.names)


def problems_of(
    signature: str, replies: dict[str, Reply] | str, evaluated: Evaluated
) -> Iterator[str]:
    """Whether a signature is missing or unknown, answers wrongly, or answers what it should refuse.
    Behind the first batch with a wrong answer, no other is spoken of."""
    if isinstance(replies, str):
        yield f"signature {signature}: {replies}"
        return
    answered = {kind: read_reply(reply) for kind, reply in replies.items()}
    good = batches(len(evaluated.logits))
    for kind, places in good.items():
        if problems := list(wrong_answer(signature, kind, answered[kind], evaluated[places])):
            yield from problems
            break
    for kind, answer in answered.items():
        if kind in good:
            continue
        if not isinstance(answer, Refusal):
            yield f"signature {signature} answers {kind} instead of refusing it"
        elif answer.megabytes > MOST_MEGABYTES:
            yield (
                f"signature {signature} takes {answer.megabytes} MB to refuse {kind}, expected at "
                f"most {MOST_MEGABYTES}"
            )


def read_reply(reply: Reply) -> Answer:
    """An answer from its plain values."""
    if "error" in reply:
        return Refusal(str(reply["error"]), int(reply["megabytes"]))
    with np.load(io.BytesIO(reply["outputs"]), allow_pickle=False) as outputs:
        return dict(outputs)


def requests_for(encoded: list[bytes], records: list[bytes], x: np.ndarray) -> Requests:
    """By signature good requests, the `batches` of the images, and bad ones."""
    shape = x.shape[1:]
    pixels = [example(image=image) for image in x]
    garbage = b"these bytes are no image"
    no_record = {"garbage bytes": [garbage], "an empty batch": []}
    bad = bad_images(shape)
    return {
        "serving_default": {
            **in_batches(encoded),
            **no_record,
            **{kind: [image] for kind, image in bad.items()},
        },
        "serialized_examples": {
            **in_batches(records),
            **no_record,
            **{kind: [example(image=image)] for kind, image in bad.items()},
            "an example without an image": [example()],
        },
        "transformed_examples": {
            **in_batches(pixels),
            **no_record,
            OTHER_SHAPE: [example(image=x[0, 1:])],
            "an example without an image": [example()],
        },
    }


def bad_images(shape: tuple[int, int, int]) -> dict[str, bytes]:
    """Files that a server must refuse, by what they are. shape: of the images that it takes."""
    height, width, channels = shape
    larger = np.zeros((height + 1, width, channels), np.uint8)
    red = np.full((height, width, 3), (255, 0, 0), np.uint8)
    colours = {"an image with colours": tf.io.encode_png(red).numpy()} if channels == 1 else {}
    return colours | {
        OTHER_SHAPE: tf.io.encode_png(larger).numpy(),
        "a JPEG": tf.io.encode_jpeg(red).numpy(),
        "a small file of a huge image": bomb(),
    }


@cache
def bomb() -> bytes:
    """A black PNG of `BOMB_SIDE`, with one bit a pixel."""
    head = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (BOMB_SIDE + 7) // 8) * BOMB_SIDE))
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def in_batches(images: list[bytes]) -> dict[str, list[bytes]]:
    """What is sent for images, in every batch."""
    every = batches(len(images))
    return {kind: [images[place] for place in places] for kind, places in every.items()}


def take_any_shape(requests: Requests) -> None:
    """Leave out what a model that resizes need not refuse."""
    for signature in ("serving_default", "serialized_examples"):
        del requests[signature][OTHER_SHAPE]


def example(image: Any = None) -> bytes:
    """A serialized tf.Example with an image: PNG bytes, or pixels."""
    record = tf.train.Example()
    if isinstance(image, bytes):
        record.features.feature["image"].bytes_list.value.append(image)
    elif image is not None:
        record.features.feature["image"].float_list.value.extend(image.ravel())
    return record.SerializeToString()


def ask(path: str, requests: Requests) -> Replies:
    """The replies of a fresh process without network, which writes nowhere else; raises
    GauntletError where it cannot load the model."""
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        child = Child(
            "components.serving_check.process:answers",
            path,
            requests,
            name="it",
            environment=NO_GPU,
            output=noise,
            sandbox=Sandbox(()),
        )
        try:
            return dict(child.result(TIMEOUT))
        except ProcessDied as error:
            noise.seek(0)
            raise ProcessDied(f"{error}: {noise.read().strip()[-300:]}") from error


def wrong_answer(signature: str, kind: str, answer: Answer, evaluated: Evaluated) -> Iterator[str]:
    """What is wrong with the answer to a good request. kind: what it asks for."""
    if isinstance(answer, Refusal):
        yield f"signature {signature} answers {kind} with an error: {answer.message}"
        return
    for difference in differences(answer, evaluated):
        yield f"signature {signature} gives {difference}, asked for {kind}"


def differences(answer: dict[str, np.ndarray], evaluated: Evaluated) -> Iterator[str]:
    """Where the served answer is not what the evaluated logits say."""
    logits, names = evaluated.logits, evaluated.names
    expected = {"logits": logits, "probabilities": tf.nn.softmax(logits).numpy()}
    expected["class"] = logits.argmax(axis=1)
    near = TOLERANCE * max(1.0, float(np.max(np.abs(logits))))
    if not answer.keys() & {"logits", "probabilities"}:
        yield f"{', '.join(answer)}, expected logits or probabilities"
    for name in answer.keys() & expected.keys():
        value, right = answer[name], expected[name]
        if value.shape != right.shape:
            yield f"{name} of shape {value.shape}, expected {right.shape}"
        elif not np.all(np.isfinite(value)):
            yield f"{name} that are not finite"
        elif name == "class":
            if wrong := int(np.sum(value != right)):
                yield f"another class than the evaluated model for {wrong} images"
        else:
            most = float(np.max(np.abs(value - right)))
            if not most <= near:  # nor where one of the two is not a number
                yield f"{name} that differ by up to {most:.2g} from the evaluated model's"
    if "label" in answer and len(names) != logits.shape[1]:
        yield f"label, and the export has {len(names)} names of its {logits.shape[1]} classes"
    elif "label" in answer:
        named = np.array([names[place].encode() for place in expected["class"]])
        if answer["label"].shape != named.shape:
            yield f"label of shape {answer['label'].shape}, expected {named.shape}"
        elif wrong := int(np.sum(answer["label"] != named)):
            yield f"another label than the name of the evaluated model's class for {wrong} images"
