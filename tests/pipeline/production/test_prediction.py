"""Answers of the served version, and files that it cannot answer for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import NAMES, SHAPE, small_images

from components.pusher import publish
from components.versions import Card
from foundation.errors import ConfigError, DataError, RunError
from foundation.versions import newest_version
from pipeline.production.prediction import classify
from pipeline.production.requests import Classification
from pipeline.root.root import Root
from trainer.export import export_model


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
    plain = found.plain()
    assert plain["version"] == found.version
    keys = ["image", "class", "label", "probability"]
    assert [list(answer) for answer in plain["answers"]] == 8 * [keys]
    assert [answer["image"] for answer in plain["answers"]] == [*files]
    assert [answer["label"] for answer in plain["answers"]] == [
        NAMES[a.label] for a in found.answers
    ]
    assert [answer["class"] for answer in plain["answers"]] == [a.label for a in found.answers]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*x.png: No such file"),
        (b"no image", "x.png is no PNG image of the shape"),
        (
            tf.io.encode_png(np.zeros((9, 9, 1), np.uint8)).numpy(),
            "x.png is no PNG image of the shape",
        ),
    ],
    ids=["missing", "garbage", "other-shape"],
)
def test_a_file_that_cannot_be_classified(content: bytes | None, message: str, root: Root) -> None:
    image = root.folder / "x.png"
    if content is not None:
        image.write_bytes(content)
    with pytest.raises(DataError, match=message):
        classify(Classification(root=root, images=(image,)))


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
