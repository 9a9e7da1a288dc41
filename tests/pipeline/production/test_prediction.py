"""Answers of the served version, and files that it cannot answer for."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from png_files import bomb, png
from small_world import NAMES, SHAPE, small_images

from components.pusher import publish
from components.versions import Card
from foundation.errors import ConfigError, DataError, RunError
from foundation.versions import newest_version
from gauntlet.documents import Predictions
from pipeline.production.prediction import classify
from pipeline.production.requests import Classification
from pipeline.root.root import Root
from trainer.export import Signatures, export_model


@pytest.fixture
def root(small_models: dict[str, str], tmp_path: Path) -> Root:
    """Two versions, of which the second, the robust model, is served; and PNG files `0.png` to
    `7.png`."""
    root = Root(tmp_path)
    for name in ("undefended", "robust"):
        publish(f"{small_models[name]}/Format-Serving", str(root.serving), Card())
    for i, image in enumerate(small_images(8, seed=3)[0]):
        (tmp_path / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())
    return root


def test_the_newest_version_answers(root: Root, small_models: dict[str, str]) -> None:
    images = small_images(8, seed=3)[0].astype(np.float32) / 255
    model = tf_keras.models.load_model(f"{small_models['robust']}/Format-Serving", compile=False)
    expected = tf.nn.softmax(model(images)).numpy()
    files = tuple(root.folder / f"{i}.png" for i in range(8))
    found = classify(Classification(root=root, images=files))
    assert [answer.label for answer in found.answers] == expected.argmax(axis=1).tolist()
    assert [a.probability for a in found.answers] == pytest.approx(
        expected.max(axis=1).tolist(), abs=1e-5
    )
    assert found.version == newest_version(str(root.serving))
    plain = Predictions.of(found).plain()
    assert plain["version"] == found.version
    keys = ["image", "class", "label", "probability"]
    assert [list(answer) for answer in plain["answers"]] == 8 * [keys]
    assert [answer["image"] for answer in plain["answers"]] == [str(file) for file in files]
    assert [answer["label"] for answer in plain["answers"]] == [
        NAMES[a.label] for a in found.answers
    ]
    assert [answer["class"] for answer in plain["answers"]] == [a.label for a in found.answers]


GREY = r"is no PNG image of the shape and colours that version \d+ takes: expected a PNG of 8 x 8 "
GREY += r"pixels \(height x width\), in grey, with 8 bits a channel, got "
RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def long(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


UNUSABLE: dict[str, tuple[bytes | Callable[[Path], object], str]] = {
    "missing": (lambda path: None, r"cannot be read \(No such file or directory\)"),
    "folder": (lambda path: path.mkdir(), "is a folder; name its files"),
    "pipe": (pipe, "is no file but a pipe, a socket or a device; remove it"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no file but a pipe, a socket or a d"),
    "broken-link": (lambda path: path.symlink_to("nowhere"), "is a link to nothing; mend or remo"),
    "empty": (b"", "is empty; replace or remove it"),
    "too-long": (long, "has 1,099,511,627,776 bytes, expected at most 536,870,912"),
    "garbage": (b"no image", "cannot be decoded as an image .its content is that of no known form"),
    "jpeg": (tf.io.encode_jpeg(RED).numpy(), GREY + "something else"),
    "other-shape": (tf.io.encode_png(np.zeros((9, 7, 1), np.uint8)).numpy(), GREY + "9 x 7"),
    "bomb": (bomb(), "claims to have 23000 x 23000 pixels; expected at most 67,108,864: make it"),
    "colours": (tf.io.encode_png(RED).numpy(), GREY + "colours"),
    "damaged": (png(8, 8)[:-20], GREY.partition("expected")[0] + "it is damaged"),
}


def spoil(path: Path, case: str) -> None:
    content, _ = UNUSABLE[case]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_that_cannot_be_classified(case: str, root: Root) -> None:
    image = root.folder / "x.png"
    spoil(image, case)
    with pytest.raises(
        DataError, match=f"^1 of 1 files cannot be taken:\n{image} {UNUSABLE[case][1]}"
    ):
        classify(Classification(root=root, images=(image,)))


def test_all_files_that_cannot_be_classified_are_told_together(root: Root) -> None:
    for case in UNUSABLE:
        spoil(root.folder / case, case)
    good = tuple(root.folder / f"{i}.png" for i in range(8))
    bad = tuple(root.folder / case for case in UNUSABLE)
    with pytest.raises(DataError) as error:
        classify(Classification(root=root, images=(good[0], *bad, *good[1:])))
    first, *lines, last = str(error.value).splitlines()
    assert (first, last) == ("13 of 21 files cannot be taken:", "and 3 more")
    assert [line.split()[0] for line in lines] == [str(path) for path in bad[:10]]


def test_nothing_was_pushed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing has been pushed"):
        classify(Classification(root=Root(tmp_path), images=(Path("0.png"),)))


def test_a_served_version_that_was_changed_answers_nothing(root: Root) -> None:
    served = newest_version(str(root.serving))
    (root.serving / str(served) / "assets" / "class_names.txt").write_text("a\nb\nc\n")
    with pytest.raises(RunError, match=r"is damaged: assets/class_names\.txt: it was changed"):
        classify(Classification(root=root, images=(root.folder / "0.png",)))


def test_a_version_of_before_has_no_names(
    root: Root, small_world: SimpleNamespace, tmp_path: Path
) -> None:
    layers = tf_keras.layers
    network = tf_keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    transform = tft.TFTransformOutput(small_world.transform)
    export_model(network, transform, str(tmp_path / "nameless"), {}, {})
    publish(str(tmp_path / "nameless"), str(root.serving), Card())
    (answer,) = classify(Classification(root=root, images=(root.folder / "0.png",))).answers
    assert answer.name is None


def test_a_version_of_before_decodes_no_huge_image(
    root: Root, small_world: SimpleNamespace, tmp_path: Path
) -> None:
    """Its graph would: it looks at the shape of what it has decoded."""

    def decoding_first(*_: object) -> Signatures:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.ensure_shape(tf.io.decode_png(image[0], 1), SHAPE)
            return {"probabilities": tf.reduce_mean(tf.cast(pixels, tf.float32)) * tf.ones([1, 3])}

        return {"serving_default": serving_default}

    layers = tf_keras.layers
    network = tf_keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    transform = tft.TFTransformOutput(small_world.transform)
    export_model(network, transform, str(tmp_path / "before"), {}, {}, decoding_first)
    publish(str(tmp_path / "before"), str(root.serving), Card())
    spoil(root.folder / "x.png", "bomb")
    with pytest.raises(DataError, match="claims to have 23000 x 23000 pixels; expected at most"):
        classify(Classification(root=root, images=(root.folder / "x.png",)))
