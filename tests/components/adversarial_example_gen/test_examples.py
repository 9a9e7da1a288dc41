"""Raw examples with and without a Transform graph."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_world import CLASSES, EXAMPLES, SHAPE

from components.adversarial_example_gen.examples import ExampleReader, Labelled
from components.records.shards import list_shards, shard_path, write_shard
from foundation.errors import DataError, RunError


def example(**values: Any) -> bytes:
    """A tf.Example. values: bytes, an integer, or an array of floats."""
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.extend(np.ravel(value).tolist())
    return example.SerializeToString()


def png(image: np.ndarray) -> bytes:
    return bytes(tf.io.encode_png(image).numpy())


def read(folder: Path, *records: bytes, size: int = 2) -> list[Labelled]:
    path = shard_path(str(folder), 0, 1, compressed=True)
    write_shard(path, records)
    return list(ExampleReader(None, SHAPE, CLASSES).batches(path, size))


@pytest.fixture
def grey() -> np.ndarray:
    return np.full(SHAPE, 51, np.uint8)


def test_by_the_graph_and_without_it(small_world: SimpleNamespace) -> None:
    """The examples of our own pipeline can be read either way."""
    (first, _) = shards = list_shards(f"{small_world.examples}/Split-test")
    readers = [ExampleReader(graph, SHAPE, CLASSES) for graph in (small_world.transform, None)]
    one, other = (list(reader.batches(first, 20)) for reader in readers)
    assert [len(batch.ids) for batch in one] == [20, 20, 8]
    for ours, plain in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours.x, plain.x)
        np.testing.assert_array_equal(ours.y, plain.y)
        assert ours.ids == plain.ids
    sample = readers[1].sample(shards, 60)
    assert len(sample.ids) == len(sample.x) == len(sample.y) == 60
    assert sample.ids[:48] == [identity for batch in one for identity in batch.ids]
    assert len(readers[1].sample(shards, 500).ids) == EXAMPLES


def test_pixels_and_png_are_the_same_images(tmp_path: Path, grey: np.ndarray) -> None:
    pixels = grey.astype(np.float32) / 255
    (encoded,) = read(tmp_path / "png", example(image=png(grey), label=2, id=b"a"))
    (floats,) = read(tmp_path / "floats", example(image=pixels, label=2, id=b"a"))
    np.testing.assert_array_equal(encoded.x, floats.x)
    assert encoded.y.tolist() == floats.y.tolist() == [2]
    assert encoded.ids == floats.ids == [b"a"]


def test_an_image_without_an_id_is_named_by_its_place(tmp_path: Path, grey: np.ndarray) -> None:
    """The same in batches of every size, so that it is attacked with the same seed."""
    records = [example(image=png(grey), label=0)] * 3
    names = [f"data_tfrecord-00000-of-00001.gz__{i}".encode() for i in range(3)]
    for size in (1, 2, 3):
        batches = read(tmp_path, *records, size=size)
        assert [identity for batch in batches for identity in batch.ids] == names


def test_an_empty_split(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    with pytest.raises(RunError, match="there is no image to attack"):
        ExampleReader(None, SHAPE, CLASSES).sample(list_shards(str(tmp_path)), 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": 0}, r"examples have an `image` .* these have {'label': 'int64_list'}"),
        ({"image": png(np.zeros(SHAPE, np.uint8))}, "and a `label`"),
        ({"image": np.zeros(SHAPE), "label": b"cat"}, "a `label` .an integer.; these have"),
        ({"image": 7, "label": 0}, "these have .*'image': 'int64_list'"),
        ({"image": png(np.zeros((9, 8, 1), np.uint8)), "label": 0}, r"shape \(8, 8, 1\)"),
        ({"image": np.zeros((9, 8, 1)), "label": 0}, r"shape \(8, 8, 1\)"),
        ({"image": b"no picture", "label": 0}, r"shape \(8, 8, 1\)"),
        ({"image": np.full(SHAPE, 255.0), "label": 0}, r"pixels are in \[0, 1\], got 255 to 255"),
        ({"image": np.full(SHAPE, np.nan), "label": 0}, r"pixels are in \[0, 1\], got nan"),
        ({"image": np.zeros(SHAPE), "label": 3}, "the labels 0 to 2, got 3 to 3"),
        ({"image": np.zeros(SHAPE), "label": -1}, "the labels 0 to 2, got -1 to -1"),
    ],
    ids=[
        "no image",
        "no label",
        "label is text",
        "image is a number",
        "png of another shape",
        "pixels of another shape",
        "no png",
        "pixels to 255",
        "not a number",
        "label too large",
        "label too small",
    ],
)
def test_examples_that_no_model_takes(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, example(**values))


def test_a_graph_that_gives_another_shape(small_world: SimpleNamespace) -> None:
    (shard, _) = list_shards(f"{small_world.examples}/Split-test")
    reader = ExampleReader(small_world.transform, (9, 8, 1), CLASSES)
    with pytest.raises(DataError, match=r"shape \(9, 8, 1\), the examples have \(8, 8, 1\)"):
        list(reader.batches(shard, 5))
