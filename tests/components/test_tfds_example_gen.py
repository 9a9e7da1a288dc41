"""Ingestion: a tiny tfds data set of several files, cut into shards of tf.Examples, and what is no
image data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from small_world import SHAPE, column, small_images
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline

from components.datasets.prepare import prepare
from components.records.labels import read_labels
from components.records.shards import write_shard
from components.tfds_example_gen import reading
from components.tfds_example_gen.component import TfdsExampleGen
from components.tfds_example_gen.reading import (
    check_class_names,
    check_classes,
    check_is_image_classification,
    read_part,
    split_parts,
    to_example,
)
from foundation.errors import ConfigError, DataError
from pipeline.local.orchestrator import Orchestrator
from pipeline.local.runner import run_pipeline
from pipeline.root.root import Root

pytestmark = pytest.mark.usefixtures("in_memory_beam")


class Digits(tfds.core.GeneratorBasedBuilder):
    """A tiny tfds data set of three files a split."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=SHAPE),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(40, 0), "test": self._generate_examples(20, 1)}

    def _generate_examples(self, n: int, seed: int) -> Any:
        for i, (image, label) in enumerate(zip(*small_images(n, seed), strict=True)):
            yield i, {"image": image, "label": int(label)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tfds.core.DatasetBuilder:
    builder = Digits(data_dir=str(tmp_path_factory.mktemp("tfds")))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    assert all(split.num_shards == 3 for split in builder.info.splits.values())
    return builder


def rows_of(
    parts: list[tuple[str, Any, int, int]], directory: str
) -> dict[str, list[tf.train.Example]]:
    rows: dict[str, list[tf.train.Example]] = {}
    for split, part, _, _ in parts:
        rows.setdefault(split, []).extend(
            map(tf.train.Example.FromString, read_part(part, directory))
        )
    return rows


def test_splits_are_cut_without_loss_or_overlap(digits: tfds.core.DatasetBuilder) -> None:
    parts = split_parts(
        digits, {"train": "train[:33]", "validation": "train[33:]", "test": "test"}, shards=4
    )
    rows = rows_of(parts, str(digits.data_dir))
    assert {split: len(found) for split, found in rows.items()} == {
        "train": 33,
        "validation": 7,
        "test": 20,
    }
    ids = [e.features.feature["id"].bytes_list.value[0] for found in rows.values() for e in found]
    assert len(set(ids)) == 60
    again = rows_of(split_parts(digits, {"test": "test"}, shards=3), str(digits.data_dir))["test"]
    assert [e.SerializeToString(deterministic=True) for e in again] == [
        e.SerializeToString(deterministic=True) for e in rows["test"]
    ], "ids and order must not depend on the number of shards"


def test_examples_hold_the_images_of_the_data_set(digits: tfds.core.DatasetBuilder) -> None:
    rows = rows_of(split_parts(digits, {"test": "test"}, shards=3), str(digits.data_dir))["test"]
    pairs = sorted(
        (image.tobytes(), int(label)) for image, label in zip(*small_images(20, 1), strict=True)
    )
    found = sorted(
        (
            tf.io.decode_png(e.features.feature["image"].bytes_list.value[0]).numpy().tobytes(),
            e.features.feature["label"].int64_list.value[0],
        )
        for e in rows
    )
    assert found == pairs
    sizes = {
        name: rows[0].features.feature[name].int64_list.value[0]
        for name in ("height", "width", "channels")
    }
    assert sizes == {"height": 8, "width": 8, "channels": 1}


@pytest.mark.parametrize(
    "split", ["train", "train[5:33]", "train[-9:]+test[3:12]", "train[20%:21%]+test"]
)
@pytest.mark.parametrize("batch", [4, 1000])
def test_ids_and_order_are_those_of_tfds(
    digits: tfds.core.DatasetBuilder, split: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", batch)
    for _, part, _, _ in split_parts(digits, {"test": split}, shards=4):
        expected = digits.as_dataset(
            split=part,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
        )
        found = map(tf.train.Example.FromString, read_part(part, str(digits.data_dir)))
        assert [
            tuple(column(example, name) for name in ("id", "image", "label")) for example in found
        ] == [(row["tfds_id"], row["image"], row["label"]) for row in expected.as_numpy_iterator()]


@pytest.mark.parametrize("file_format", ["array_record", "riegeli", "parquet"])
def test_data_in_other_files_than_tfrecord(
    digits: tfds.core.DatasetBuilder, tmp_path: Path, file_format: str
) -> None:
    folder = Path(shutil.copytree(digits.data_dir, tmp_path / "digits"))
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": file_format}))
    with pytest.raises(
        DataError,
        match=rf"digits is stored as {file_format}, expected tfrecord; prepare the data again",
    ):
        split_parts(tfds.builder_from_directory(str(folder)), {"test": "test"}, shards=2)


def test_a_file_that_lost_records_is_not_read_in_silence(
    digits: tfds.core.DatasetBuilder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(digits.data_dir, tmp_path / "digits"))
    rewrite(sorted(folder.glob("*test*"))[1], lambda records: records[:-1])
    (part,) = split_parts(tfds.builder_from_directory(str(folder)), {"test": "test"}, shards=1)
    with pytest.raises(tf.errors.OpError):
        list(read_part(part[1], str(folder)))


def rewrite(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    write_shard(str(file), change(list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())))


def test_the_cache_knows_data_by_its_content_not_by_its_place(
    digits: tfds.core.DatasetBuilder, tmp_path: Path
) -> None:
    here, there, root = tmp_path / "here", tmp_path / "there", tmp_path / "root"
    root.mkdir()

    def is_cached(folder: Path, run_id: str) -> bool:
        data = prepare("digits", str(folder))
        node = TfdsExampleGen(
            dataset="digits",
            data_dir=Root(root).link_data(data.directory),
            fingerprint=data.fingerprint,
            splits='{"test": "test"}',
            shards=2,
        )
        pipeline = Pipeline(
            pipeline_name="ingestion",
            pipeline_root=str(root / "artifacts"),
            components=[node],
            enable_cache=True,
            metadata_connection_config=sqlite_metadata_connection_config(
                str(root / "metadata.sqlite")
            ),
        )
        return bool(run_pipeline(pipeline, Orchestrator.LOCAL, run_id)["TfdsExampleGen"].cached)

    shutil.copytree(digits.data_dir, here)
    assert not is_cached(here, "1")
    shutil.move(here, there)
    assert is_cached(there, "2")
    rewrite(sorted(there.glob("*test*"))[0], lambda records: records[::-1])
    assert not is_cached(there, "3")


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("test", r"'test' of digits has no image of 1 of 3 classes \(2\), and what is not there"),
        ("train", r"'train\[:33\]' of digits has no image of 1 of 3 classes"),
        ("validation", ""),
    ],
)
def test_a_split_that_lacks_a_class_is_refused_before_training(
    digits: tfds.core.DatasetBuilder,
    caplog: pytest.LogCaptureFixture,
    lacking: str,
    message: str,
) -> None:
    splits = {"train": "train[:33]", "validation": "train[33:]", "test": "test"}
    labels = {split: {0: 5, 1: 1, 2: 1} for split in splits} | {lacking: {0: 5, 1: 1}}
    if message:
        with pytest.raises(DataError, match=message):
            check_classes(digits, splits, labels)
    else:
        check_classes(digits, splits, labels)
        assert "has no image of 1 of 3 classes (2), so no epoch is chosen by it" in caplog.text


def test_images_of_each_class_are_counted_split_by_split(
    digits: tfds.core.DatasetBuilder, tmp_path: Path
) -> None:
    node = TfdsExampleGen(
        dataset="digits", data_dir=str(digits.data_dir), splits='{"test": "test"}', shards=2
    )
    pipeline = Pipeline(
        pipeline_name="counting",
        pipeline_root=str(tmp_path / "artifacts"),
        components=[node],
        metadata_connection_config=sqlite_metadata_connection_config(str(tmp_path / "sqlite")),
    )
    run_pipeline(pipeline, Orchestrator.LOCAL, "1")
    (written,) = tmp_path.glob("artifacts/TfdsExampleGen/examples/*/labels.json")
    counts = np.bincount(small_images(20, 1)[1], minlength=3)
    assert read_labels(str(written.parent)) == {"test": dict(enumerate(counts.tolist()))}


def test_other_formats_become_png_without_loss() -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    jpeg = tf.io.encode_jpeg(image, quality=100).numpy()
    features = to_example(b"a", jpeg, 1).features.feature
    png = tf.io.decode_png(features["image"].bytes_list.value[0])
    np.testing.assert_array_equal(png, tf.io.decode_jpeg(jpeg))
    assert [features[n].int64_list.value[0] for n in ("height", "width", "channels")] == [5, 7, 3]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("tset", "has no split 'tset'; its splits are {'train': 40, 'test': 20}"),
        ("test[:0]", "is empty"),
    ],
)
def test_unknown_and_empty_splits(
    digits: tfds.core.DatasetBuilder, split: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_parts(digits, {"test": split}, shards=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"train": "train[:30]+train[32:33]", "test": "test[:5]+test[5:]"}, ""),
        (
            {"train": "train[:35]"},
            r"data.train=train\[:35\] and data.validation=train\[33:\] have 2 images of digits in "
            "common; expected none",
        ),
        (
            {"test": "train[:5%]"},
            r"data.train=train\[:33\] and data.test=.* have 2 images of digits",
        ),
        (
            {"test": "train[-1shard:]"},
            "data.train=.* and data.test=.* have 6 images",
        ),
        ({"test": "all"}, "data.train=.* and data.test=all have 33 images"),
        (
            {"test": "test+test[:3]+test[1:2]"},
            "data.test=.* takes 4 images of digits more than once",
        ),
        ({"test": "test[10:9]"}, "a part ends before it begins; expected FIRST:AFTER_LAST"),
    ],
)
def test_an_image_is_in_one_split_and_once(
    digits: tfds.core.DatasetBuilder, change: dict[str, str], message: str
) -> None:
    splits = {"train": "train[:33]", "validation": "train[33:]", "test": "test"} | change
    if message:
        with pytest.raises(ConfigError, match=message):
            split_parts(digits, splits, shards=2)
    else:
        assert split_parts(digits, splits, shards=2)


def test_data_sets_without_image_and_label() -> None:
    features = {"image": tfds.features.Tensor(shape=(8,), dtype=np.float32)}
    builder = SimpleNamespace(name="sounds", info=SimpleNamespace(features=features))
    with pytest.raises(
        DataError, match="sounds is no image-classification data set: expected the features `image`"
    ):
        check_is_image_classification(builder)


NAMED = tfds.features.ClassLabel(names=["cat", "dog", "fox"])


@pytest.mark.parametrize(
    ("label", "names", "message"),
    [
        (NAMED, ["cat", "dog", "fox"], ""),
        (NAMED, [], ""),
        (NAMED, ["cat", "dog", "fox", "owl"], ""),
        (NAMED, ["cat", "fox", "dog"], "another order: label 1 was fox and is dog"),
        (NAMED, ["cow", "dog", "fox"], r'cow is gone, cat is new.*\["cat", "dog", "fox"\]'),
        (tfds.features.ClassLabel(num_classes=3), ["cat", "dog", "fox"], ""),
    ],
    ids=["same", "unsaid", "more", "order", "renamed", "data-without-names"],
)
def test_names_that_the_data_contradicts(
    tmp_path: Path, label: tfds.features.ClassLabel, names: list[str], message: str
) -> None:
    label.save_metadata(tmp_path, "label")
    info = SimpleNamespace(features={"label": label})
    builder = SimpleNamespace(info=info, data_dir=str(tmp_path), name="pets")
    if not message:
        check_class_names(builder, names)
        return
    with pytest.raises(DataError, match=message):
        check_class_names(builder, names)
