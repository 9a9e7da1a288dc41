"""`gauntlet predict`: answers of the served version, and files that it cannot answer for."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import small_images

from components.pusher import publish
from foundation.errors import ConfigError, DataError
from pipeline.production.served import predict


@pytest.fixture
def root(small_models: dict[str, str], tmp_path: Path) -> Path:
    """Two versions, of which the second, the robust model, is served; and PNG files `0.png` to
    `7.png`."""
    for name in ("undefended", "robust"):
        publish(f"{small_models[name]}/Format-Serving", str(tmp_path / "serving"), {})
    for i, image in enumerate(small_images(8, seed=3)[0]):
        (tmp_path / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())
    return tmp_path


def test_the_newest_version_answers(root: Path, small_models: dict[str, str]) -> None:
    images = small_images(8, seed=3)[0].astype(np.float32) / 255
    model = tf_keras.models.load_model(f"{small_models['robust']}/Format-Serving", compile=False)
    expected = tf.nn.softmax(model(images)).numpy()
    found = predict(root, [str(root / f"{i}.png") for i in range(8)])
    assert [answer["class"] for answer in found["answers"]] == expected.argmax(axis=1).tolist()
    assert [a["probability"] for a in found["answers"]] == pytest.approx(
        expected.max(axis=1).tolist(), abs=1e-5
    )
    assert found["version"] == max((path.name for path in (root / "serving").iterdir()), key=int)


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
def test_a_file_that_cannot_be_classified(content: bytes | None, message: str, root: Path) -> None:
    if content is not None:
        (root / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        predict(root, [str(root / "x.png")])


def test_nothing_was_pushed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing has been pushed"):
        predict(tmp_path, ["0.png"])
