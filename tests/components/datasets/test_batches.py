"""Prepared data as batches: what somebody put into the files is looked at before it is decoded."""

import resource
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import write_folder
from png_files import bomb, png

from components.datasets import stock, worker
from components.datasets.batches import image_batches
from components.datasets.prepare import prepare
from components.datasets.prepared import PreparedDataset
from foundation.errors import DataError


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedDataset:
    monkeypatch.setattr(stock, "run", worker.run)
    return prepare(str(write_folder(tmp_path / "pets")), str(tmp_path / "data"))


def put(pets: PreparedDataset, image: bytes) -> None:
    """In place of the last image of the test split."""
    (file,) = Path(pets.directory).glob("*test*.tfrecord*")
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[-1])
    example.features.feature["image"].bytes_list.value[0] = image
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in [*records[:-1], example.SerializeToString()]:
            writer.write(record)


def test_the_images_are_those_of_the_files(pets: PreparedDataset) -> None:
    put(pets, png(6, 5, bytes(range(90)), colour=2))
    batches = list(image_batches(pets, "test", 3))
    assert [len(batch.x) for batch in batches] == [3, 1]
    expected = np.arange(90, dtype=np.float32).reshape(6, 5, 3) / np.float32(255)
    np.testing.assert_array_equal(batches[-1].x[0], expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (bomb(), "claims to have 23000 x 23000 pixels; expected at most 67,108,864"),
        (b"no image", "cannot be decoded as an image"),
        (png(6, 5, colour=2)[:-20], ".*(PNG|png)"),
    ],
    ids=["bomb", "garbage", "damaged"],
)
def test_what_cannot_be_decoded_is_a_sentence(
    image: bytes, message: str, pets: PreparedDataset
) -> None:
    put(pets, image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=f"^image_folder/[0-9a-f]*: an image of test {message}"):
        list(image_batches(pets, "test", 2))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"
