"""The serving check: a sound export passes, and each way to serve something else is named."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import CLASSES, SHAPE, artifact
from tensorflow.python.util import _pywrap_util_port
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import io_utils

from components.manifest import MODEL_SHA256, digest_of
from components.records.shards import list_shards, read_shards
from components.serving_check import component
from components.serving_check.component import (
    ServingCheck,
    ask,
    bomb,
    find_problems,
    read_problems,
    requests_for,
    take_any_shape,
)
from components.serving_check.process import answers
from foundation.errors import GauntletError
from trainer import export
from trainer.classes import CLASS_NAMES
from trainer.config import TrainerConfig
from trainer.network import build_network


@pytest.fixture(scope="module")
def records(small_world: SimpleNamespace) -> list[bytes]:
    return list(
        read_shards(list_shards(f"{small_world.examples}/Split-test")).take(20).as_numpy_iterator()
    )


def test_a_sound_export_is_blessed(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path: Path
) -> None:
    blessing = artifact(InfraBlessing, str(tmp_path / "blessing"))
    examples = artifact(Examples, small_world.examples, split_names='["test"]')
    inputs = {"model": [artifact(Model, small_models["robust"])], "examples": [examples]}
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        inputs, {"blessing": [blessing]}, {"split": "test"}
    )
    assert read_problems(blessing.uri) == []
    assert blessing.get_int_custom_property("blessed") == 1
    looked_at = digest_of(f"{small_models['robust']}/Format-Serving")
    assert blessing.get_string_custom_property(MODEL_SHA256) == looked_at


def test_a_model_in_a_store_is_asked_as_a_copy_of_it(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path: Path
) -> None:
    """The fresh process reaches no store; `ram://` is one that only this process reaches."""
    trained = tmp_path / "trained"  # of two names that begin alike, `ram://` makes one
    extra = shutil.ignore_patterns("assets.extra")
    shutil.copytree(small_models["robust"], trained, ignore=extra)
    io_utils.copy_dir(str(trained), "ram://store/model")
    blessing = artifact(InfraBlessing, str(tmp_path / "blessing"))
    examples = artifact(Examples, small_world.examples, split_names='["test"]')
    inputs = {"model": [artifact(Model, "ram://store/model")], "examples": [examples]}
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        inputs, {"blessing": [blessing]}, {"split": "test"}
    )
    assert read_problems(blessing.uri) == []
    looked_at = digest_of(str(trained / "Format-Serving"))
    assert blessing.get_string_custom_property(MODEL_SHA256) == looked_at


def test_without_the_blessing_of_a_real_server_there_is_none(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path: Path
) -> None:
    blessing, other = (
        artifact(InfraBlessing, str(tmp_path / name)) for name in ("blessing", "other")
    )
    other.set_int_custom_property("blessed", 0)
    examples = artifact(Examples, small_world.examples, split_names='["test"]')
    inputs = {
        "model": [artifact(Model, small_models["robust"])],
        "examples": [examples],
        "infra_blessing": [other],
    }
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        inputs, {"blessing": [blessing]}, {"split": "test"}
    )
    assert blessing.get_int_custom_property("blessed") == 0
    assert read_problems(blessing.uri) == ["TFX's InfraValidator could not serve the model"]


Change = Callable[[dict[str, Any]], dict[str, Any]]


def without(name: str) -> Change:
    return lambda signatures: {key: value for key, value in signatures.items() if key != name}


def instead(name: str, answer: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Change:
    """Answers that need no model."""

    def change(signatures: dict[str, Any]) -> dict[str, Any]:
        (argument,) = signatures[name].get_concrete_function().structured_input_signature[1] or [
            None
        ]
        spec = tf.TensorSpec(
            [None],
            tf.string,
            name=argument or ("image" if name == "serving_default" else "examples"),
        )

        @tf.function(input_signature=[spec])
        def signature(request: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(request)

        return signatures | {name: signature}

    return change


def always(
    value: float, kind: str = "probabilities"
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    return lambda request: {kind: tf.fill([tf.shape(request)[0], 3], value)}


DIFFERENT = "serving_default gives probabilities that differ by up to"
GARBAGE = "serving_default answers garbage bytes instead of refusing it"
EMPTY = "serving_default answers an empty batch instead of refusing it"


def besides(signatures: dict[str, Any]) -> dict[str, Any]:
    """A signature of somebody's own."""
    return signatures | {"mine": signatures["serving_default"]}


def turned_if(changed: Callable[[tf.Tensor], tf.Tensor], name: str = "serving_default") -> Change:
    """Probabilities in another order of classes where something holds of the request."""

    def change(signatures: dict[str, Any]) -> dict[str, Any]:
        sound = signatures[name]
        argument = "image" if name == "serving_default" else "examples"

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=argument)])
        def signature(request: tf.Tensor) -> dict[str, tf.Tensor]:
            right = sound(request)["probabilities"]
            turned = tf.where(changed(request), tf.roll(right, 1, axis=1), right)
            return {"probabilities": turned}

        return signatures | {name: signature}

    return change


def alone(request: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.size(request), 1)


def few(request: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.size(request), 3)


def twice(request: tf.Tensor) -> tf.Tensor:
    """Where the same image comes again, as a cache by content would meet it."""
    return tf.less(tf.size(tf.unique(request).y), tf.size(request))


def out_of_order(request: tf.Tensor) -> tf.Tensor:
    """Answers that depend on what stands in front: here where one image is not where it
    was."""
    keys = tf.strings.to_hash_bucket_fast(request, 1 << 20)
    whole = tf.greater(tf.size(request), 10)
    return tf.logical_and(whole, tf.greater(tf.argmax(keys), tf.argmax(keys[::-1])))


def by_the_batch(signatures: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the batch, as a normalisation in training mode takes them: right on none."""
    sound = signatures["transformed_examples"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def signature(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = sound(examples)["logits"]
        return {"logits": logits - tf.reduce_mean(logits, axis=0)}

    return signatures | {"transformed_examples": signature}


def decoded_first(signatures: dict[str, Any]) -> dict[str, Any]:
    """A check of the shape that comes after decoding."""
    sound = signatures["serving_default"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def signature(image: tf.Tensor) -> dict[str, tf.Tensor]:
        decoded = tf.image.decode_png(image[0], 1)
        shape = tf.debugging.assert_equal(tf.shape(decoded), SHAPE)
        with tf.control_dependencies([shape]):
            return dict(sound(tf.identity(image)))

    return signatures | {"serving_default": signature}


def labelled(*names: str) -> Change:
    """`label` with these names."""

    def change(signatures: dict[str, Any]) -> dict[str, Any]:
        sound = signatures["serving_default"]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def signature(image: tf.Tensor) -> dict[str, tf.Tensor]:
            answer = dict(sound(image))
            return answer | {"label": tf.gather(tf.constant(names), answer["class"])}

        return signatures | {"serving_default": signature}

    return change


def exported(
    small_world: SimpleNamespace, small_models: dict[str, str], folder: Path, change: Change
) -> str:
    """The robust model with other signatures; returns the folder of the SavedModel."""
    trained = tf_keras.models.load_model(f"{small_models['robust']}/Format-Serving", compile=False)
    model = build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, CLASSES)
    model.set_weights(trained.get_weights())
    transform = tft.TFTransformOutput(small_world.transform)

    def signatures(*both: Any) -> dict[str, Any]:
        return change(export.signatures_of(*both))

    export.export_model(model, transform, str(folder / "model"), {}, {}, signatures)
    return str(folder / "model")


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (besides, ["signature mine: nobody knows what it must answer"]),
        (turned_if(alone), [DIFFERENT, "asked for one image"]),
        (
            turned_if(alone, "serialized_examples"),
            ["serialized_examples gives probabilities that differ", "asked for one image"],
        ),
        (turned_if(few), [DIFFERENT, "asked for three images"]),
        (turned_if(twice), [DIFFERENT, "asked for an image twice"]),
        (turned_if(out_of_order), [DIFFERENT]),
        (
            decoded_first,
            [
                r"serving_default takes 5\d\d MB to refuse a small file of a huge image, expected "
                "at most 200"
            ],
        ),
        (by_the_batch, ["transformed_examples gives logits that differ by up to"]),
        (labelled("a", "b", "c"), ["gives label, and the export has 0 names of its 3 classes"]),
        (
            without("serialized_examples"),
            ["signature serialized_examples: there is no such signature"],
        ),
        (
            instead("serving_default", always(0.3)),
            [
                DIFFERENT,
                GARBAGE,
                EMPTY,
                "serving_default answers a JPEG instead of refusing it",
                "serving_default answers an image with colours instead",
                "serving_default answers a small file of a huge image instead",
            ],
        ),
        (
            instead("serving_default", always(float("nan"))),
            ["serving_default gives probabilities that are not finite"],
        ),
        (
            instead("transformed_examples", always(0.3)),
            ["transformed_examples answers an image of another shape"],
        ),
        (
            instead("serving_default", always(0.3, "scores")),
            ["gives scores, expected logits or probabilities"],
        ),
        (
            instead(
                "serving_default", lambda r: {"probabilities": tf.fill([tf.shape(r)[0], 2], 0.5)}
            ),
            [r"gives probabilities of shape \(20, 2\), expected \(20, 3\)"],
        ),
    ],
    ids=[
        "unknown",
        "alone",
        "alone-serialized",
        "few",
        "twice",
        "order",
        "decoded-first",
        "batch",
        "label",
        "missing",
        "constant",
        "nan",
        "any-shape",
        "scores",
        "two-classes",
    ],
)
def test_what_is_wrong_is_named(
    small_world: SimpleNamespace,
    small_models: dict[str, str],
    records: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    messages: list[str],
) -> None:
    folder = exported(small_world, small_models, tmp_path, change)
    monkeypatch.setattr(component, "ask", answers)  # in this process: other tests ask a fresh one
    problems = "\n".join(find_problems(folder, records))
    for message in messages:
        assert re.search(message, problems), problems


def test_a_confined_process_sees_what_each_refusal_takes(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path: Path
) -> None:
    """Also what it has taken once before."""
    folder = exported(small_world, small_models, tmp_path, decoded_first)
    asked = {"serving_default": {"first": [bomb()], "second": [bomb()], "small": [b"none"]}}
    replies = ask(folder, asked)["serving_default"]
    assert not isinstance(replies, str)
    took = {name: reply["megabytes"] for name, reply in replies.items()}
    assert took["first"] > 500
    if not _pywrap_util_port.IsMklEnabled():  # whose allocator keeps what it has once got
        assert took["second"] > 500
    assert took["small"] < 50


def test_labels_are_the_names_of_the_classes(
    small_world: SimpleNamespace,
    small_models: dict[str, str],
    records: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change = labelled("cat", "fish with bones", "Möwe")
    folder = exported(small_world, small_models, tmp_path, change)
    monkeypatch.setattr(component, "ask", answers)
    names = Path(folder, "assets", CLASS_NAMES)
    names.parent.mkdir(exist_ok=True)
    names.write_text("cat\nfish with bones\nMöwe\n")
    assert list(find_problems(folder, records)) == []
    names.write_text("fish with bones\ncat\nMöwe\n")
    (problem,) = find_problems(folder, records)
    assert "serving_default gives another label than the name of the evaluated model's" in problem


def test_an_export_that_a_fresh_process_cannot_load(
    small_models: dict[str, str],
    records: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = f"{small_models['robust']}/Format-Serving"
    broken = Path(shutil.copytree(good, tmp_path / "model"))
    network = tf_keras.models.load_model(good, compile=False)
    for file in (broken / "variables").iterdir():
        file.write_bytes(file.read_bytes()[:10])
    monkeypatch.setattr(tf_keras.models, "load_model", lambda *_, **__: network)
    (problem,) = find_problems(str(broken), records)
    assert problem.startswith("a fresh process cannot load the model: ")


def test_a_fresh_process_that_dies_or_does_not_answer(
    records: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow.py").write_text(
        "import os, sys, time; print('out of breath', file=sys.stderr)\n"
        "if os.path.exists(__file__ + '.slow'): time.sleep(60)\n"
        "os.kill(os.getpid(), 9)"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(
        GauntletError,
        match=r"^it ended with signal 9 \(killed, or perhaps out of memory\): out of breath$",
    ):
        ask("model", {})
    (tmp_path / "tensorflow.py.slow").touch()
    monkeypatch.setattr(component, "TIMEOUT", 2)
    with pytest.raises(GauntletError, match=r"^it did not answer within 2 seconds: .*"):
        ask("model", {})


MODEL_WITH_A_TRAP = """
class Trap:
    def __reduce__(self):
        return open, (__file__ + ".written", "w")

class saved_model:
    class load:
        def __init__(self, path):
            self.signatures = {Trap(): None}
"""


def test_nothing_of_a_model_is_run_by_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow.py").write_text(MODEL_WITH_A_TRAP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(GauntletError, match="a confined process sent"):
        ask("model", {})
    assert not (tmp_path / "tensorflow.py.written").exists()


def test_the_fresh_process_is_fresh() -> None:
    """A server has none of our Keras objects either."""
    code = (
        "import sys, foundation.child, components.serving_check.process as p\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('components', 'trainer', "
        "'robustness', 'pipeline', 'tensorflow', 'keras', 'tf_keras'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    process = "components.serving_check.process"
    assert done.stdout.split() == ["components", "components.serving_check", process]


def test_warm_up_requests_are_answered(small_models: dict[str, str]) -> None:
    """What TensorFlow Serving replays before it serves a version, replayed on the signature."""
    folder = f"{small_models['robust']}/Format-Serving"
    signature = (model := tf.saved_model.load(folder)).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(
        f"{folder}/assets.extra/tf_serving_warmup_requests"
    ).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        images = tf.constant(tf.make_ndarray(request.inputs["image"]))
        sizes.append(len(signature(image=images)["class"]))
        assert tf.io.decode_png(images[0]).shape == SHAPE
    assert sizes == [1, 32]
    assert np.all(np.isfinite(signature(image=images)["probabilities"]))
    del model


def test_a_model_that_resizes_need_not_refuse_other_shapes() -> None:
    """Pixels are another matter: nothing resizes those."""
    requests = requests_for([b"image"], [b"record"], np.zeros((1, 8, 8, 1), np.float32))
    other, still = "an image of another shape", "garbage bytes"
    take_any_shape(requests)
    assert {name for name, kinds in requests.items() if other in kinds} == {"transformed_examples"}
    assert all(still in kinds for kinds in requests.values())
