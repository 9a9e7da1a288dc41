"""One network in every format gives the same numbers; and what is no model is refused."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from model_files import FORMATS, network, write_model
from small_classifier import EPSILON, STAGES, some_images, trained_model
from small_world import CLASSES, SHAPE

from foundation.errors import DataError
from robustness.config import ThreatModel
from robustness.evaluation import Judge
from trainer.models import load
from trainer.models.choice import Wanted
from trainer.models.formats import LARGEST_CONFIG
from trainer.models.load import LoadedModel, load_export, load_model
from trainer.models.pixels import Pixels


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.fixture(scope="module")
def weights() -> list[np.ndarray]:
    return list(trained_model().get_weights())


def wanted(batch: Any, **changes: Any) -> Wanted:
    return Wanted(**{"image_shape": SHAPE, "sample": batch.x, "classes": CLASSES} | changes)


def verdict(model: Any, batch: Any) -> tuple[list[str], list[str], list[int]]:
    """What is known of each image."""
    judge = Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    judged = judge.judge(batch.x, batch.y, batch.ids, seed=0)
    assert judge.certifier is not None, judge.not_certified
    return judged.broken_by.tolist(), judged.certified_by.tolist(), judged.prediction.tolist()


@pytest.fixture(scope="module")
def expected(weights: list[np.ndarray], batch: Any) -> Any:
    return verdict(network(weights), batch)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_network_gives_the_same_verdicts(
    weights: list[np.ndarray], batch: Any, expected: Any, tmp_path: Path, name: str
) -> None:
    loaded = load_model(write_model(name, weights, tmp_path), wanted(batch))
    assert (loaded.model.image_shape, loaded.model.classes) == (SHAPE, CLASSES)
    logits = loaded.model(tf.constant(batch.x), training=False)
    np.testing.assert_allclose(logits, network(weights)(batch.x), atol=1e-6)
    assert loaded.model.judged.doubts == ()
    assert verdict(loaded.model, batch) == expected


def said(loaded: LoadedModel) -> str:
    judged = loaded.model.judged
    return "\n".join([*map(" ".join, judged.lines()), *judged.said, *judged.doubts])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("keras3.h5", r"\(Keras 3 .h5 file\)"),
        ("keras2_folder", r"\(Keras 2 SavedModel\)"),
        ("signature", "signature serving_default.*\n.*pixels: float32.*\n.*logits: float32"),
        ("fixed_batch", "it takes 7 images at a time"),
        ("dictionaries.keras", "image: float32.*\n.*logits: float32 logits"),
        ("flat.keras", "it takes all pixels in a row"),
        ("no_channels.keras", "it takes grey images without an axis of channels"),
        ("channels_first.keras", "channels first"),
        ("subclassed", "signature serving_default"),
        ("pytorch.onnx", r"\(ONNX file\)\n.*x: float32 \[n, 1, 8, 8\].*channels first"),
        ("versions", "versions/10 "),
        ("artifact", "artifact/Format-Serving "),
    ],
)
def test_what_was_judged_is_said(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, name: str, sentence: str
) -> None:
    import re

    loaded = load_model(write_model(name, weights, tmp_path), wanted(batch))
    assert re.search(sentence, said(loaded)), said(loaded)


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("last", [None, "softmax", "sigmoid"])
def test_other_float_types(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, dtype: str, last: str | None
) -> None:
    """float32 comes out, and what squashes is found in every type."""
    policy = tf_keras.mixed_precision.Policy(dtype)
    image = tf_keras.Input(SHAPE, dtype=None if "mixed" in dtype else dtype)
    layers = tf_keras.layers
    hidden = layers.Dense(8, "relu", dtype=policy)(layers.Flatten(dtype=policy)(image))
    model = tf_keras.Model(image, layers.Dense(CLASSES, last, dtype=policy)(hidden))
    model.set_weights(weights)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", wanted(batch))
    logits = loaded.model(tf.constant(batch.x), training=False)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, network(weights)(batch.x), atol=0.1)
    assert loaded.model.judged.output.taken_off == ((last,) if last else ())
    assert loaded.model.judged.output.dtype == dtype.removeprefix("mixed_")


@pytest.mark.parametrize(
    ("pixels", "scale", "offset"), [(Pixels.BYTES, 1 / 255, 0.0), (Pixels.SIGNED, 0.5, 0.5)]
)
def test_pixels_in_another_range(
    weights: list[np.ndarray],
    batch: Any,
    tmp_path: Path,
    pixels: Pixels,
    scale: float,
    offset: float,
) -> None:
    image = tf_keras.Input(SHAPE)
    inner = network(weights)(tf_keras.layers.Rescaling(scale, offset)(image))
    tf_keras.Model(image, inner).save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", wanted(batch, pixels=pixels))
    logits = loaded.model(tf.constant(batch.x), training=False)
    np.testing.assert_allclose(logits, network(weights)(batch.x), atol=1e-5)
    assert f", pixels {pixels}" in said(loaded)


def test_an_open_shape_is_that_of_the_data(batch: Any, tmp_path: Path) -> None:
    layers = tf_keras.layers
    image = tf_keras.Input((None, None, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    model = tf_keras.Model(image, layers.Dense(CLASSES)(pooled))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", wanted(batch))
    assert "leaves the shape of an image open, and is asked with (8, 8, 1)" in said(loaded)
    np.testing.assert_allclose(loaded.model(tf.constant(batch.x)), model(batch.x), atol=1e-6)
    with pytest.raises(DataError, match="images of a fixed shape"):
        load_model(tmp_path / "model.keras")


def save_two_signatures(weights: list[np.ndarray], path: Path, *names: str) -> None:
    """The first gives the negated logits."""
    module = tf.Module()
    module.network = network(weights)
    spec = tf.TensorSpec([None, *SHAPE], tf.float32, name="x")
    functions = [
        tf.function(lambda x, s=sign: {"out": s * module.network(x)}, input_signature=[spec])
        for sign in (-1.0, 1.0)
    ]
    tf.saved_model.save(module, str(path), dict(zip(names, functions, strict=True)))


def test_serving_default_is_judged_before_any_other(
    weights: list[np.ndarray], batch: Any, tmp_path: Path
) -> None:
    save_two_signatures(weights, tmp_path / "model", "embed", "serving_default")
    right = load_model(tmp_path / "model", wanted(batch))
    np.testing.assert_allclose(
        right.model(tf.constant(batch.x)), network(weights)(batch.x), atol=1e-6
    )
    other = load_model(tmp_path / "model", wanted(batch, signature="embed"))
    assert other.model.judged.signature == "embed"
    np.testing.assert_allclose(
        other.model(tf.constant(batch.x)), -network(weights)(batch.x), atol=1e-6
    )


def test_between_two_the_user_chooses(
    weights: list[np.ndarray], batch: Any, tmp_path: Path
) -> None:
    save_two_signatures(weights, tmp_path / "model", "one", "two")
    with pytest.raises(DataError, match=r"one:out \[n, 3\], two:out \[n, 3\]; name one with"):
        load_model(tmp_path / "model", wanted(batch))
    assert load_model(tmp_path / "model", wanted(batch, signature="two:out"))
    for signature, message in (
        ("three", "there is no signature 'three' of images; there is one, two"),
        ("two:logits", "expected an output of logits.*named logits"),
    ):
        with pytest.raises(DataError, match=message):
            load_model(tmp_path / "model", wanted(batch, signature=signature))


def save_spec(path: Path, spec: tf.TensorSpec, body: Any) -> None:
    module = tf.Module()
    module.weight = tf.Variable(tf.ones([SHAPE[0] * SHAPE[1], CLASSES]))
    serve = tf.function(lambda x: {"logits": body(x, module.weight)}, input_signature=[spec])
    tf.saved_model.save(module, str(path), {"serving_default": serve})


def flat(x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(x, tf.float32), [-1, SHAPE[0] * SHAPE[1]])


IMAGES = tf.TensorSpec([None, *SHAPE], tf.float32)

REFUSED: dict[str, tuple[Any, str]] = {
    "empty file": (lambda p: p.write_bytes(b""), "is empty"),
    "text": (lambda p: p.write_text("no model"), "is no model that can be read"),
    "empty folder": (lambda p: p.mkdir(), "expected a SavedModel folder"),
    "no signature": (lambda p: tf.saved_model.save(tf.Module(), str(p)), "its signatures are none"),
    "two inputs": (lambda p: two_inputs().save(p, save_format="tf"), "expected one input"),
    "weights": (lambda p: save_weights(p), "holds weights without a network"),
    "graph": (lambda p: p.write_bytes(b"\x08\x01\x12\x00"), "is no model that can be read"),
    "pytorch": (lambda p: p.write_bytes(b"\x80\x02}q\x00."), "is a pickle.*torch.onnx.export"),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(50)), "TensorFlow Lite"),
    "other images": (
        lambda p: network_of((9, 8, 1), CLASSES).save(p, save_format="tf"),
        r"takes images of shape \(9, 8, 1\), the data has \(8, 8, 1\)",
    ),
    "fewer classes": (
        lambda p: network_of(SHAPE, 2).save(p, save_format="tf"),
        "fewer classes than the data has: 3",
    ),
    "one output": (
        lambda p: network_of(SHAPE, 1).save(p, save_format="tf"),
        r"\[n, 1\], which tells two classes apart, gives fewer classes than the data has: 3",
    ),
    "integers": (
        lambda p: save_spec(p, tf.TensorSpec([None, *SHAPE], tf.uint8), lambda x, w: flat(x) @ w),
        "it takes uint8, which no gradient reaches",
    ),
    "a map": (
        lambda p: save_spec(p, IMAGES, lambda x, w: x[..., 0] + w[0, 0]),
        "expected an output of logits",
    ),
    "one number in all": (
        lambda p: save_spec(p, IMAGES, lambda x, w: tf.reduce_sum(flat(x) @ w)),
        "expected an output of logits",
    ),
}  # fmt: skip


def two_inputs() -> tf_keras.Model:
    inputs = [tf_keras.Input(SHAPE), tf_keras.Input(SHAPE)]
    layers = tf_keras.layers
    return tf_keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs[0] + inputs[1])))


def network_of(shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(classes)])


def save_weights(path: Path) -> None:
    network_of(SHAPE, 3).save_weights(path.with_suffix(".h5"))
    path.with_suffix(".h5").rename(path)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_judged_is_refused(tmp_path: Path, batch: Any, kind: str) -> None:
    make, message = REFUSED[kind]
    make(tmp_path / "model")
    with pytest.raises(DataError, match=message) as refused:
        load_model(tmp_path / "model", wanted(batch))
    assert str(tmp_path / "model") in str(refused.value)


@pytest.mark.parametrize("name", ["keras2.keras", "keras2.h5", "keras3.keras", "keras3.h5"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_files_that_were_cut_off(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, name: str, share: float
) -> None:
    path = write_model(name, weights, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"is empty|is damaged|no model|loading it failed"):
        load_model(path, wanted(batch))


@pytest.mark.parametrize("name", ["keras2.keras", "keras2.h5", "keras3.keras", "keras3.h5"])
def test_a_wrong_ending_does_not_matter(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, name: str
) -> None:
    path = write_model(name, weights, tmp_path)
    other = tmp_path / {".keras": "other.h5", ".h5": "other.keras"}[path.suffix]
    shutil.copy(path, other)
    logits = load_model(other, wanted(batch)).model(tf.constant(batch.x))
    np.testing.assert_allclose(logits, network(weights)(batch.x), atol=1e-6)


def test_a_saved_model_without_its_variables(
    weights: list[np.ndarray], batch: Any, tmp_path: Path
) -> None:
    path = write_model("signature", weights, tmp_path)
    shutil.rmtree(path / "variables")
    with pytest.raises(DataError, match="loading it failed"):
        load_model(path, wanted(batch))


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "tanh"])
def test_what_squashes_is_found_behind_a_fixed_batch(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, last: str
) -> None:
    module = tf.Module()
    module.network = network(weights)
    end = tf_keras.activations.get(last)
    spec = tf.TensorSpec([7, *SHAPE], tf.float32)
    serve = tf.function(lambda x: {"y": end(module.network(x))}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": serve})
    loaded = load_model(tmp_path / "model", wanted(batch))
    assert loaded.model.judged.output.taken_off == (last,)
    np.testing.assert_allclose(
        loaded.model(tf.constant(batch.x)), network(weights)(batch.x), atol=1e-6
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_that_run_compiled_only(batch: Any, tmp_path: Path, groups: int) -> None:
    """Keras compiles convolutions in groups as a whole: TensorFlow has no kernel for them on a
    CPU."""
    layers = tf_keras.layers
    image = tf_keras.Input(SHAPE)
    two = layers.Conv2D(4, 3, groups=groups, activation="relu")(layers.Concatenate()([image] * 2))
    model = tf_keras.Model(image, layers.Dense(CLASSES)(layers.Flatten()(two)))
    module = tf.Module()
    module.network = model
    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    serve = tf.function(lambda x: {"y": module.network(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": serve})
    loaded = load_model(tmp_path / "model", wanted(batch))
    np.testing.assert_allclose(loaded.model(tf.constant(batch.x)), model(batch.x), atol=1e-5)
    judge = Judge(loaded.model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    judge.judge(batch.x, batch.y, batch.ids, seed=0)
    assert judge.certifier is not None, judge.not_certified


def test_what_is_beside_an_onnx_file_decides_too(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights, also in a folder whose name looks like a pattern, and the package that reads
    it."""
    import onnx

    folder = tmp_path / "o[x]*"
    folder.mkdir()
    fingerprints = set()
    for factor in (1.0, 2.0):
        path = write_model("model.onnx", [factor * each for each in weights], tmp_path)
        onnx.save(
            onnx.load(path),
            folder / "model.onnx",
            save_as_external_data=True,
            location="model.onnx.data",
            size_threshold=0,
        )
        loaded = load_model(folder / "model.onnx", wanted(batch))
        logits = network([factor * each for each in weights])(batch.x)
        np.testing.assert_allclose(loaded.model(tf.constant(batch.x)), logits, atol=1e-5)
        fingerprints.add(loaded.fingerprint)
        (folder / "model.onnx.data").rename(folder / f"{factor}.data")
    assert len(fingerprints) == 2
    (folder / "1.0.data").rename(folder / "model.onnx.data")
    assert load_model(folder / "model.onnx", wanted(batch)).fingerprint in fingerprints
    monkeypatch.setattr(onnx, "__version__", "0.1")
    other_reader = load_model(folder / "model.onnx", wanted(batch)).fingerprint
    assert other_reader not in fingerprints


def test_answers_that_depend_on_their_neighbours_are_refused(batch: Any, tmp_path: Path) -> None:
    weight = tf.Variable(tf.random.stateless_normal([64, CLASSES], [1, 2]))

    def normalised(x: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(x, [-1, 64])
        mean, variance = tf.nn.moments(rows, [0])
        return tf.matmul((rows - mean) * tf.math.rsqrt(variance + 1e-3), weight)

    save_function(tmp_path / "model", normalised, weight)
    with pytest.raises(DataError, match=r"depend on the images beside it.*training=False"):
        load_model(tmp_path / "model", wanted(batch))


@pytest.mark.parametrize("kind", ["variable", "part", "table"])
def test_a_model_that_remembers_is_refused(batch: Any, tmp_path: Path, kind: str) -> None:
    """It answers for what lies near an image as it did for that, and is robust only where it was
    shown the image first: asked twice for the same images, it says nothing else."""
    weight = tf.Variable(tf.random.stateless_normal([64, CLASSES], [1, 2]))
    last = tf.Variable(tf.zeros([64]))
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)

    def remembering(x: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(x, [-1, 64])
        if kind == "variable":
            last.assign(rows[0])
        elif kind == "part":
            last[0].assign(rows[0, 0])
        else:
            table.insert(tf.constant([1], tf.int64), rows[0, :1])
        return tf.matmul(rows, weight)

    save_function(tmp_path / "model", remembering, weight, last, table)
    with pytest.raises(DataError, match=r"may keep something of what it is asked \("):
        load_model(tmp_path / "model", wanted(batch, trust=True))


def test_a_random_model_is_said_to_be(batch: Any, tmp_path: Path) -> None:
    layers = tf_keras.layers
    image = tf_keras.Input(SHAPE)
    noisy = layers.Dropout(0.5)(layers.Flatten()(image), training=True)
    tf_keras.Model(image, layers.Dense(CLASSES)(noisy)).save(tmp_path / "model.keras")
    assert "it draws random numbers" in said(load_model(tmp_path / "model.keras", wanted(batch)))


def save_function(path: Path, body: Any, *weights: tf.Variable) -> None:
    module = tf.Module()
    module.weights = weights
    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    serve = tf.function(lambda x: {"y": body(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(path), {"serving_default": serve})


def test_branches_that_call_functions(
    weights: list[np.ndarray], batch: Any, tmp_path: Path
) -> None:
    net = network(weights)
    inner = tf.function(lambda x: net(x, training=False))

    def branched(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_max(x) > 2.0, lambda: -inner(x), lambda: inner(x))

    save_function(tmp_path / "model", branched, *net.variables)
    loaded = load_model(tmp_path / "model", wanted(batch))
    np.testing.assert_allclose(loaded.model(tf.constant(batch.x)), net(batch.x), atol=1e-6)
    judge = Judge(loaded.model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    judge.judge(batch.x, batch.y, batch.ids, seed=0)


def test_calls_of_tensorflow_that_touch_files_are_code(batch: Any, tmp_path: Path) -> None:
    """Keras 2 calls whatever function a layer of its own names."""
    import json
    import zipfile

    image = tf_keras.Input(SHAPE)
    pure = tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(tf.abs(image) * 2.0))
    tf_keras.Model(image, pure).save(tmp_path / "pure.keras")
    assert load_model(tmp_path / "pure.keras", wanted(batch))
    with zipfile.ZipFile(tmp_path / "pure.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = content["config.json"].decode()
    assert '"math.abs"' in config
    content["config.json"] = config.replace('"math.abs"', '"io.gfile.rmtree"').encode()
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    json.loads(content["config.json"])
    with pytest.raises(DataError, match=r"a call of io\.gfile\.rmtree.*--trust"):
        load_model(tmp_path / "evil.keras", wanted(batch))


def test_a_description_that_unpacks_to_gigabytes(
    batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.21.0"}')
        archive.writestr("config.json", b" " * (LARGEST_CONFIG + 1))
    with pytest.raises(DataError, match=r"is damaged: config\.json in it is unpacked"):
        load_model(tmp_path / "bomb.keras", wanted(batch))


def save_lambda(path: Path) -> None:
    """Loading it runs code of the file: here, a file called CODE_RAN appears beside it."""
    marker = str(path.parent / "CODE_RAN")
    image = tf_keras.Input(SHAPE)
    changed = tf_keras.layers.Lambda(
        lambda t, marker=marker: (__import__("pathlib").Path(marker).touch(), t * 2.0)[1]
    )(image)
    inner = tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(changed))
    tf_keras.Model(image, inner).save(path)
    Path(marker).unlink()


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_code_in_a_file_runs_on_an_explicit_yes_only(batch: Any, tmp_path: Path, name: str) -> None:
    save_lambda(tmp_path / name)
    with pytest.raises(DataError, match=r"holds code.*a Lambda layer 'lambda.*--trust"):
        load_model(tmp_path / name, wanted(batch))
    assert not (tmp_path / "CODE_RAN").exists()
    assert load_model(tmp_path / name, wanted(batch, trust=True)).model.classes == CLASSES
    assert (tmp_path / "CODE_RAN").exists()


def test_a_folder_with_code_is_asked_through_its_signature(batch: Any, tmp_path: Path) -> None:
    save_lambda(tmp_path / "model.keras")
    model = tf_keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=False)
    model.save(tmp_path / "model", save_format="tf")
    (tmp_path / "CODE_RAN").unlink()
    loaded = load_model(tmp_path / "model", wanted(batch))
    assert loaded.model.judged.format == "SavedModel"
    assert not (tmp_path / "CODE_RAN").exists()
    strings = tf.TensorSpec([None], tf.string)
    model.save(
        tmp_path / "strings",
        save_format="tf",
        signatures={
            "serving_default": tf.function(lambda x: {"y": x}).get_concrete_function(strings)
        },
    )
    with pytest.raises(DataError, match=r"holds code \(a Lambda layer.*with --trust only"):
        load_model(tmp_path / "strings", wanted(batch))
    assert load_export(str(tmp_path / "strings")).classes == CLASSES  # what a pipeline trained


def test_weights_behind_a_link_are_part_of_the_model(
    weights: list[np.ndarray], batch: Any, tmp_path: Path
) -> None:
    """A link that was turned to other weights is another model, whatever its folder is called."""
    folder = tmp_path / "assets.extra" / "model"
    fingerprints = []
    for factor in (1.0, 2.0):
        path = write_model("signature", [factor * each for each in weights], tmp_path)
        (path / "variables").rename(tmp_path / f"variables-{factor}")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path / "saved_model.pb", folder)
        shutil.rmtree(path)
        (folder / "variables").unlink(missing_ok=True)
        (folder / "variables").symlink_to(tmp_path / f"variables-{factor}")
        fingerprints.append(load_model(folder, wanted(batch)).fingerprint)
    assert fingerprints[0] != fingerprints[1]
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "notes.txt").write_text("beside the model")
    assert load_model(folder, wanted(batch)).fingerprint == fingerprints[1]
    (folder / ".#saved_model.pb").symlink_to("nothing")
    assert load_model(folder, wanted(batch)).fingerprint == fingerprints[1]
    (folder / "loop").symlink_to(folder)
    with pytest.raises(DataError, match="a link in it leads back"):
        load_model(folder, wanted(batch))


def save_with_signature(model: tf_keras.Model, path: Path, body: Any) -> None:
    """A Keras model with a `serving_default` that computes `body` of its outputs."""

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE])])
    def served(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(enumerate_outputs(body(model(x))))

    model.save(path, save_format="tf", signatures={"serving_default": served})


def enumerate_outputs(outputs: Any) -> Iterator[tuple[str, tf.Tensor]]:
    for number, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
        yield f"output_{number}", output


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (lambda logits: logits, ""),
        (tf.nn.softmax, ""),
        (lambda logits: tf.roll(logits, 1, axis=1), "gives other classes for 8 of 8 images"),
        (lambda logits: tf.concat([logits] * 9, axis=1), "gives something else"),
        (lambda logits: [logits, -logits], "gives something else"),
    ],
    ids=["the same", "squashed", "turned", "embedding", "two"],
)
def test_what_a_server_would_ask_is_compared(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, body: Any, note: str
) -> None:
    """The Keras model is judged, and a note says where the signature computes something else."""
    model = network(weights)
    save_with_signature(model, tmp_path / "model", body)
    loaded = load_model(tmp_path / "model", wanted(batch))
    np.testing.assert_allclose(loaded.model(tf.constant(batch.x)), model(batch.x), atol=1e-6)
    doubts = loaded.model.judged.doubts
    assert [note in doubt and "--signature serving_default" in doubt for doubt in doubts] == (
        [True] if note else []
    )


@pytest.mark.parametrize("name", ["model.ONNX", "model.bin", "model.h5"])
def test_an_onnx_file_is_known_by_its_content(
    weights: list[np.ndarray], batch: Any, tmp_path: Path, name: str
) -> None:
    path = write_model("model.onnx", weights, tmp_path).rename(tmp_path / name)
    logits = load_model(path, wanted(batch)).model(tf.constant(batch.x))
    np.testing.assert_allclose(logits, network(weights)(batch.x), atol=1e-5)


def test_a_class_that_is_not_there_is_named(batch: Any, tmp_path: Path) -> None:
    import keras

    class Scale(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2.0 * x

    image = keras.Input(SHAPE)
    keras.Model(image, keras.layers.Flatten()(Scale()(image))).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"failed: Could not locate class 'Scale'"):
        load_model(tmp_path / "model.keras", wanted(batch, trust=True))


def test_a_stateful_model_says_what_it_takes(batch: Any, tmp_path: Path) -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential([
        layers.Reshape(SHAPE[:2], batch_input_shape=(4, *SHAPE)), layers.LSTM(4, stateful=True)
    ])  # fmt: skip
    model.save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"images: Input 0 of layer .*expected shape=\(4, None, 8"):
        load_model(tmp_path / "model.keras", wanted(batch))


def test_outputs_within_outputs_are_named(batch: Any, tmp_path: Path) -> None:
    import keras

    image = keras.Input(SHAPE)
    hidden = keras.layers.Flatten()(image)
    first, second = (keras.layers.Dense(CLASSES)(hidden) for _ in range(2))
    model = keras.Model(image, {"a": {"b": first}, "c": [second]})
    model.save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"may be the logits: a/b \[n, 3\], c/0 \[n, 3\]"):
        load_model(tmp_path / "model.keras", wanted(batch))
    asked = load_model(tmp_path / "model.keras", wanted(batch, signature=":c/0")).model
    expected = keras.Model(image, second)(batch.x)
    np.testing.assert_allclose(asked(tf.constant(batch.x)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["keras2.keras", "keras2_folder"])
def test_a_model_that_changes_while_it_is_loaded(
    weights: list[np.ndarray],
    batch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Otherwise verdicts on the old weights would be kept under the new ones' name."""
    path = write_model(name, weights, tmp_path)
    (tmp_path / "newer").mkdir()
    write_model(name, [-each for each in weights], tmp_path / "newer")
    original = load.ask_model

    def overwritten(*arguments: Any) -> Any:
        model = original(*arguments)
        copy = shutil.copytree if path.is_dir() else shutil.copy
        options: Any = {"dirs_exist_ok": True} if path.is_dir() else {}
        copy(tmp_path / "newer" / name, path, **options)
        return model

    monkeypatch.setattr(load, "ask_model", overwritten)
    with pytest.raises(DataError, match=rf"{name} changed while it was loaded; wait"):
        load_model(path, wanted(batch))


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "more"])
def test_a_pipe_in_a_folder_is_not_waited_for(
    weights: list[np.ndarray], tmp_path: Path, name: str
) -> None:
    folder = write_model("signature", weights, tmp_path)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=rf"{name} is neither a file nor a folder"):
        load_model(folder)
