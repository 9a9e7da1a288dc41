"""Components on small real files: what they write is read back, and what they must refuse is refused.

One file for all components, because their tests share the small artifacts and the ways to read them.
"""

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import StandardOptions
from google.protobuf import text_format
from small_world import EXAMPLES, SHAPE, small_images
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.metrics import metric_types
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, PushedModel, TransformGraph
from tfx.utils import io_utils, proto_utils

from components import pusher
from components.adversarial_example_gen import executor as adversarial
from components.adversarial_example_gen.config import AttackConfig
from components.adversarial_example_gen.rows import (
    BROKEN_BY,
    CERTIFIED_BY,
    CLEAN,
    MODELS,
    NO_BOUND,
    PREDICTION,
    ROBUST,
    Row,
)
from components.anomaly_gate import describe
from components.datasets.prepare import prepare
from components.metrics import CertifiedAccuracy, WorstCaseAccuracy
from components.schema import check_schema, schema_text
from components.shards import list_shards, read_shards, shard_path, write_shard
from components.tfds_example_gen import executor as example_gen
from components.tfds_example_gen.component import TfdsExampleGen
from components.tfds_example_gen.executor import check_is_image_classification, read_part, split_parts, to_example
from pipeline.config import override
from pipeline.gates import eval_config, gates
from pipeline.job import link_data
from pipeline.presets import preset
from pipeline.results import AttackTable, read_attack_table
from pipeline.runner import Orchestrator, run_pipeline
from robustness.attacks.attacker import Attacker
from robustness.config import Attack, AttackName, BoundName, ThreatModel
from robustness.errors import ConfigError, DataError, RunError
from robustness.suites import bounds_of


@pytest.fixture(autouse=True)
def _in_memory_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", "FnApiRunner")


class Digits(tfds.core.GeneratorBasedBuilder):
    """A tiny tfds data set of three files a split."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=SHAPE), "label": tfds.features.ClassLabel(num_classes=3)}
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


def rows_of(parts: list[tuple[str, Any, int, int]], directory: str) -> dict[str, list[tf.train.Example]]:
    rows: dict[str, list[tf.train.Example]] = {}
    for split, part, _, _ in parts:
        rows.setdefault(split, []).extend(map(tf.train.Example.FromString, read_part(part, directory)))
    return rows


def test_splits_are_cut_without_loss_or_overlap(digits: tfds.core.DatasetBuilder) -> None:
    parts = split_parts(digits, {"train": "train[:33]", "validation": "train[33:]", "test": "test"}, shards=4)
    rows = rows_of(parts, str(digits.data_dir))
    assert {split: len(found) for split, found in rows.items()} == {"train": 33, "validation": 7, "test": 20}
    ids = [e.features.feature["id"].bytes_list.value[0] for found in rows.values() for e in found]
    assert len(set(ids)) == 60
    again = rows_of(split_parts(digits, {"test": "test"}, shards=3), str(digits.data_dir))["test"]
    assert [e.SerializeToString(deterministic=True) for e in again] == [
        e.SerializeToString(deterministic=True) for e in rows["test"]
    ], "ids and order must not depend on the number of shards"


def test_examples_hold_the_images_of_the_data_set(digits: tfds.core.DatasetBuilder) -> None:
    rows = rows_of(split_parts(digits, {"test": "test"}, shards=3), str(digits.data_dir))["test"]
    pairs = sorted((image.tobytes(), int(label)) for image, label in zip(*small_images(20, 1), strict=True))
    found = sorted(
        (
            tf.io.decode_png(e.features.feature["image"].bytes_list.value[0]).numpy().tobytes(),
            e.features.feature["label"].int64_list.value[0],
        )
        for e in rows
    )
    assert found == pairs
    sizes = {name: rows[0].features.feature[name].int64_list.value[0] for name in ("height", "width", "channels")}
    assert sizes == {"height": 8, "width": 8, "channels": 1}


@pytest.mark.parametrize("split", ["train", "train[5:33]", "train[-9:]+test[3:12]", "train[20%:21%]+test"])
@pytest.mark.parametrize("batch", [4, 1000])
def test_ids_and_order_are_those_of_tfds(
    digits: tfds.core.DatasetBuilder, split: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example_gen, "BATCH", batch)
    for _, part, _, _ in split_parts(digits, {"test": split}, shards=4):
        expected = digits.as_dataset(
            split=part,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1),
        )
        found = map(tf.train.Example.FromString, read_part(part, str(digits.data_dir)))
        assert [tuple(column(example, name) for name in ("id", "image", "label")) for example in found] == [
            (row["tfds_id"], row["image"], row["label"]) for row in expected.as_numpy_iterator()
        ]


@pytest.mark.parametrize("file_format", ["array_record", "riegeli", "parquet"])
def test_data_in_other_files_than_tfrecord(digits: tfds.core.DatasetBuilder, tmp_path: Path, file_format: str) -> None:
    folder = Path(shutil.copytree(digits.data_dir, tmp_path / "digits"))
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": file_format}))
    with pytest.raises(
        DataError, match=rf"digits is stored as {file_format}, expected tfrecord; prepare the data again"
    ):
        split_parts(tfds.builder_from_directory(str(folder)), {"test": "test"}, shards=2)


def test_a_file_that_lost_records_is_not_read_in_silence(digits: tfds.core.DatasetBuilder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(digits.data_dir, tmp_path / "digits"))
    rewrite(sorted(folder.glob("*test*"))[1], lambda records: records[:-1])
    (part,) = split_parts(tfds.builder_from_directory(str(folder)), {"test": "test"}, shards=1)
    with pytest.raises(tf.errors.OpError):
        list(read_part(part[1], str(folder)))


def rewrite(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    write_shard(str(file), change(list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())))


def test_the_cache_knows_data_by_its_content_not_by_its_place(digits: tfds.core.DatasetBuilder, tmp_path: Path) -> None:
    here, there, root = tmp_path / "here", tmp_path / "there", tmp_path / "root"
    root.mkdir()

    def is_cached(folder: Path, run_id: str) -> bool:
        data = prepare("digits", str(folder))
        node = TfdsExampleGen(
            dataset="digits",
            data_dir=link_data(root, data.directory),
            fingerprint=data.fingerprint,
            splits={"test": "test"},
            shards=2,
        )
        pipeline = Pipeline(
            pipeline_name="ingestion",
            pipeline_root=str(root / "artifacts"),
            components=[node],
            enable_cache=True,
            metadata_connection_config=sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        )
        return bool(run_pipeline(pipeline, Orchestrator.LOCAL, run_id)["TfdsExampleGen"]["cached"])

    shutil.copytree(digits.data_dir, here)
    assert not is_cached(here, "1")
    shutil.move(here, there)
    assert is_cached(there, "2")
    rewrite(sorted(there.glob("*test*"))[0], lambda records: records[::-1])
    assert not is_cached(there, "3")


def test_other_formats_become_png_without_loss() -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    jpeg = tf.io.encode_jpeg(image, quality=100).numpy()
    features = to_example(b"a", jpeg, 1).features.feature
    png = tf.io.decode_png(features["image"].bytes_list.value[0])
    np.testing.assert_array_equal(png, tf.io.decode_jpeg(jpeg))
    assert [features[n].int64_list.value[0] for n in ("height", "width", "channels")] == [5, 7, 3]


@pytest.mark.parametrize(
    ("split", "message"),
    [("tset", "has no split 'tset'; its splits are {'train': 40, 'test': 20}"), ("test[:0]", "is empty")],
)
def test_unknown_and_empty_splits(digits: tfds.core.DatasetBuilder, split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_parts(digits, {"test": split}, shards=2)


def test_data_sets_without_image_and_label() -> None:
    features = {"image": tfds.features.Tensor(shape=(8,), dtype=np.float32)}
    builder = SimpleNamespace(name="sounds", info=SimpleNamespace(features=features))
    with pytest.raises(DataError, match="sounds is no image-classification data set: expected the features `image`"):
        check_is_image_classification(builder)


def anomalies_of(tmp_path: Path, change: Callable[[tf.train.Example], None]) -> list[str]:
    """What the gate would say of 20 MNIST-like examples, one of them changed."""
    examples = [
        to_example(b"%d" % i, tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy(), i % 10) for i in range(20)
    ]
    change(examples[7])
    write_shard(str(tmp_path / "data.gz"), [e.SerializeToString() for e in examples])
    statistics = tfdv.generate_statistics_from_tfrecord(str(tmp_path / "data.gz"))
    schema = text_format.Parse(schema_text("mnist"), schema_pb2.Schema())
    return describe("train", tfdv.validate_statistics(statistics, schema))


def wrong_size(example: tf.train.Example) -> None:
    example.features.feature["height"].int64_list.value[0] = 27


def wrong_label(example: tf.train.Example) -> None:
    example.features.feature["label"].int64_list.value[0] = 10


def no_image(example: tf.train.Example) -> None:
    del example.features.feature["image"]


def colour(example: tf.train.Example) -> None:
    example.features.feature["channels"].int64_list.value[0] = 3


@pytest.mark.parametrize(
    ("change", "feature", "words"),
    [
        (wrong_size, "height", "27"),
        (wrong_label, "label", "10"),
        (no_image, "image", "missing|fewer"),
        (colour, "channels", "3"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_data_that_breaks_the_schema_is_named(
    tmp_path: Path, change: Callable[[tf.train.Example], None], feature: str, words: str
) -> None:
    (line,) = anomalies_of(tmp_path, change)
    assert line.startswith(f"- split train, feature {feature}: ")
    assert any(word in line for word in words.split("|"))


def test_clean_data_passes(tmp_path: Path) -> None:
    assert anomalies_of(tmp_path, lambda _: None) == []


def test_a_data_set_without_a_schema() -> None:
    with pytest.raises(
        DataError, match=r"no schema for the data set 'moons': .* there are schemas for \['fashion_mnist', 'mnist'\]"
    ):
        schema_text("moons")


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [((32, 28, 1), 10, "has height 32, the schema demands 28"), ((28, 28, 1), 5, "data.classes is 5, .* from 0 to 9")],
)
def test_settings_that_contradict_the_schema(shape: tuple[int, int, int], classes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_schema(schema_text("mnist"), shape, classes)
    check_schema(schema_text("mnist"), (28, 28, 1), 10)


def artifact(kind: type, uri: str, **properties: Any) -> Any:
    result = kind()
    result.uri = uri
    for name, value in properties.items():
        setattr(result, name, value)
    return result


EPSILON = 0.16
"""Certifies some images of the small world, breaks some, and leaves others open."""

SUITE = {"suite": "fast", "names": ["fgsm", "pgd"]}


class Attacked(Protocol):
    """Runs AdversarialExampleGen on the small world and gives the rows that it wrote."""

    def __call__(
        self, *, examples: str = "", norm: str = "linf", epsilon: float = EPSILON, **attack: Any
    ) -> list[tf.train.Example]: ...


@pytest.fixture(scope="module")
def attacked(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Attacked:
    def run(
        *, examples: str = "", norm: str = "linf", epsilon: float = EPSILON, **attack: Any
    ) -> list[tf.train.Example]:
        folder = tmp_path_factory.mktemp("attacked")
        inputs = {
            "examples": [artifact(Examples, examples or small_world.examples, split_names='["test"]')],
            "transform_graph": [artifact(TransformGraph, small_world.transform)],
            **{name: [artifact(Model, uri)] for name, uri in small_models.items()},
        }
        properties = {"split": "test", "threat": json.dumps({"norm": norm, "epsilon": epsilon}), "seed": 5}
        properties["attack"] = json.dumps(SUITE | attack)
        output = {"adversarial_examples": [artifact(Examples, str(folder))]}
        adversarial.Executor(
            adversarial.Executor.Context(beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1")
        ).Do(inputs, output, properties)
        return read_rows(f"{folder}/Split-test")

    return run


@pytest.fixture(scope="module")
def rows(attacked: Attacked) -> list[tf.train.Example]:
    """What AdversarialExampleGen writes for the small world."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", "FnApiRunner")
        return attacked()


def read_rows(folder: str) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(r) for r in read_shards(list_shards(folder)).as_numpy_iterator()]


def column(row: tf.train.Example, name: str) -> Any:
    feature = row.features.feature[name]
    return next(iter(getattr(feature, feature.WhichOneof("kind")).value))


def pixels(row: tf.train.Example) -> np.ndarray:
    return np.asarray(row.features.feature["image"].float_list.value, np.float32)


def by_image(rows: list[tf.train.Example]) -> list[dict[str, tf.train.Example]]:
    """Of each image its rows by attack."""
    images: dict[bytes, dict[str, tf.train.Example]] = {}
    for row in rows:
        images.setdefault(column(row, "id"), {})[column(row, "attack").decode()] = row
    return list(images.values())


def test_attacked_rows_are_paired_and_recorded(rows: list[tf.train.Example]) -> None:
    attacks = {CLEAN, "fgsm@undefended", "fgsm@robust", "strongest@undefended", "strongest@robust"}
    assert len(rows) == EXAMPLES * len(attacks)
    assert len(by_image(rows)) == EXAMPLES
    for versions in by_image(rows):
        assert set(versions) == attacks
        clean = versions[CLEAN]
        for attack, row in versions.items():
            assert np.abs(pixels(row) - pixels(clean)).max() <= EPSILON + 1e-6
            assert column(row, "label") == column(clean, "label")
            recorded = [column(row, name) for name in ("norm", "epsilon", "seed")]
            assert recorded == pytest.approx([b"", 0.0, 5] if attack == CLEAN else [b"linf", EPSILON, 5])


@pytest.mark.parametrize("model", MODELS)
def test_verdicts_agree_with_the_predictions(rows: list[tf.train.Example], model: str) -> None:
    found = Counter()
    for versions in by_image(rows):
        broken_by, certified_by = (
            {column(row, prefix + model).decode() for row in versions.values()} for prefix in (BROKEN_BY, CERTIFIED_BY)
        )
        assert len(broken_by) == len(certified_by) == 1, "verdicts are the same on all rows of an image"
        (broken, certified), right = (*broken_by, *certified_by), {}
        for attack, row in versions.items():
            right[attack] = column(row, PREDICTION + model) == column(row, "label")
        assert (broken == CLEAN) == (not right[CLEAN])
        assert (broken == "") == (right[CLEAN] and right[f"strongest@{model}"])
        assert broken in {"", CLEAN, "fgsm", "pgd"}
        assert certified in {"", *BoundName}
        if certified:
            assert all(right.values()), "a proof that a row contradicts"
        if broken == "fgsm":
            np.testing.assert_array_equal(pixels(versions[f"strongest@{model}"]), pixels(versions[f"fgsm@{model}"]))
        if certified == BoundName.IBP or broken == CLEAN:  # no attack was needed
            np.testing.assert_array_equal(pixels(versions[f"strongest@{model}"]), pixels(versions[CLEAN]))
        found[bool(broken), bool(certified)] += 1
    assert min(found[True, False], found[False, True]) > 0, "the radius shows nothing"
    assert found[True, True] == 0


def test_recorded_predictions_are_those_of_the_exported_models(
    rows: list[tf.train.Example], small_models: dict[str, str]
) -> None:
    serialized = tf.constant([row.SerializeToString() for row in rows])
    for name, uri in small_models.items():
        signature = tf.saved_model.load(f"{uri}/Format-Serving").signatures["transformed_examples"]
        answers = signature(examples=serialized)["logits"].numpy().argmax(axis=1)
        assert answers.tolist() == [column(row, f"prediction_{name}") for row in rows]


def test_attack_is_stronger_on_its_own_model_than_on_the_other(attacked: Attacked) -> None:
    rows = attacked(epsilon=0.22)

    def accuracy(model: str, attack: str) -> float:
        chosen = [row for row in rows if column(row, "attack") == attack.encode()]
        return float(np.mean([column(row, f"prediction_{model}") == column(row, "label") for row in chosen]))

    assert accuracy("undefended", "strongest@undefended") < accuracy("undefended", CLEAN)
    assert accuracy("undefended", "strongest@undefended") <= accuracy("undefended", "fgsm@undefended")
    assert accuracy("undefended", "strongest@undefended") <= accuracy("undefended", "strongest@robust")


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shards"), [(7, 1), (33, 5)])
def test_rows_depend_neither_on_batches_nor_on_shards(
    attacked: Attacked,
    rows: list[tf.train.Example],
    small_world: SimpleNamespace,
    size: int,
    shards: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = list(read_shards(list_shards(f"{small_world.examples}/Split-test")).as_numpy_iterator())[::-1]
    for i in range(shards):
        write_shard(shard_path(str(tmp_path / "Split-test"), i, shards, compressed=True), records[i::shards])
    monkeypatch.setattr(adversarial, "BATCH", size)
    one, other = (
        {(column(row, "id"), column(row, "attack")): row for row in found}
        for found in (rows, attacked(examples=str(tmp_path)))
    )
    assert one.keys() == other.keys()
    for key, row in one.items():
        np.testing.assert_allclose(pixels(row), pixels(other[key]), atol=1e-6)
        for name in set(row.features.feature) - {"image"}:
            assert column(row, name) == column(other[key], name), name


def test_no_bound_applies_to_l2(attacked: Attacked, tmp_path: Path) -> None:
    rows = attacked(norm="l2", epsilon=1.2)
    for versions in by_image(rows):
        clean = versions[CLEAN]
        for row in versions.values():
            assert np.linalg.norm(pixels(row) - pixels(clean)) <= 1.2 + 1e-5
            assert {column(row, CERTIFIED_BY + model) for model in MODELS} == {NO_BOUND.encode()}
    results = table(rows, tmp_path).accuracies("robust", AttackConfig(names=("fgsm", "pgd")).stages)
    assert (results["certified"], results["certified_by"]) == (None, {})
    assert list(results["white_box"]) == ["fgsm", "pgd"]
    assert results["worst_case"] < results["clean"]


def table(rows: list[tf.train.Example], folder: Path) -> AttackTable:
    write_shard(shard_path(str(folder), 0, 1, compressed=False), [row.SerializeToString() for row in rows])
    return read_attack_table(str(folder), MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_accuracies_are_counted_from_the_rows(rows: list[tf.train.Example], model: str, tmp_path: Path) -> None:
    stages = AttackConfig(names=("fgsm", "pgd")).stages
    results = table(rows, tmp_path).accuracies(model, stages)
    (other,) = set(MODELS) - {model}

    def right(row: tf.train.Example) -> bool:
        return column(row, PREDICTION + model) == column(row, "label")

    def share(attack: str) -> float:
        return float(np.mean([right(versions[attack]) for versions in by_image(rows)]))

    assert results["clean"] == pytest.approx(share(CLEAN))
    transfer = {attack: share(f"{attack}@{other}") for attack in ("fgsm", "strongest")}
    assert results["transfer"] == pytest.approx(transfer)
    white_box = {"fgsm": share(f"fgsm@{model}"), "pgd": share(f"strongest@{model}")}
    assert results["white_box"] == pytest.approx(white_box)
    assert results["worst_case"] == pytest.approx(np.mean([all(map(right, v.values())) for v in by_image(rows)]))
    proofs = Counter(column(versions[CLEAN], CERTIFIED_BY + model).decode() for versions in by_image(rows))
    steps = np.cumsum([proofs[bound] for bound in bounds_of(stages)]) / EXAMPLES
    assert results["certified_by"] == pytest.approx(dict(zip(bounds_of(stages), steps, strict=True)))
    assert results["certified"] == pytest.approx(steps[-1])
    assert results["certified"] <= results["worst_case"] <= min(results["white_box"].values())


def test_an_attack_that_leaves_its_ball_is_an_error(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Attacker.run

    def too_far(self: Attacker, attack: Attack, x: np.ndarray, *rest: Any) -> np.ndarray:
        moved = run(self, attack, x, *rest).copy()
        moved[:1] = x[:1] + 2 * EPSILON if attack.name is AttackName.PGD else moved[:1]
        return moved

    monkeypatch.setattr(Attacker, "run", too_far)
    with pytest.raises(Exception, match=rf"pgd: 1 attacked images lie outside the linf ball of radius {EPSILON}"):
        attacked()


def row(identity: bytes, attack: str, value: float) -> bytes:
    image = np.full((2, 2, 1), value, np.float32)
    return Row(
        id=identity,
        image=image,
        label=0,
        attack=attack,
        predictions={ROBUST: 0},
        broken_by={ROBUST: ""},
        certified_by={ROBUST: ""},
    ).serialize()


@pytest.mark.parametrize(
    ("rows", "images", "message"),
    [
        ([row(b"a", CLEAN, 0.5), row(b"a", "fgsm@robust", 0.61)], 1, "1 attacked images lie outside the linf ball"),
        ([row(b"a", CLEAN, 0.95), row(b"a", "fgsm@robust", 1.01)], 1, "1 attacked images lie outside"),
        ([row(b"a", CLEAN, 0.5), row(b"a", "fgsm@robust", float("nan"))], 1, "1 attacked images lie outside"),
        ([row(b"a", CLEAN, 0.5)], 1, "1 of them with missing rows"),
        ([row(b"a", "fgsm@robust", 0.5), row(b"a", "fgsm@undefended", 0.5)], 1, "1 of them with missing rows"),
        ([row(b"a", CLEAN, 0.5), *[row(b"a", "fgsm@robust", 0.5)] * 2], 1, "1 of them with missing rows"),
        ([row(b"a", CLEAN, 0.5), row(b"a", "fgsm@robust", 0.55)], 2, "2 images were attacked, 1 were read back"),
    ],
    ids=["outside-the-ball", "outside-the-range", "nan", "row-missing", "clean-missing", "row-twice", "image-missing"],
)
def test_what_was_written_is_checked(tmp_path: Path, rows: list[bytes], images: int, message: str) -> None:
    write_shard(shard_path(str(tmp_path), 0, 1, compressed=False), rows)
    context = adversarial.Executor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1")
    with pytest.raises(RunError, match=message):
        adversarial.Executor(context)._check(str(tmp_path), ThreatModel(epsilon=0.1), 2, images)


def test_valid_rows_pass_the_check(tmp_path: Path) -> None:
    rows = [row(b"a", CLEAN, 0.5), row(b"a", "fgsm@robust", 0.6)]
    write_shard(shard_path(str(tmp_path), 0, 1, compressed=False), rows)
    context = adversarial.Executor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path), unique_id="1")
    adversarial.Executor(context)._check(str(tmp_path), ThreatModel(epsilon=0.1), 2, 1)


def measured(metric: metric_types.Metric, rows: list[tuple[str, bool, str]]) -> float:
    """The metric over rows of (id, whether the served model is right, certified_by), combined in two parts."""
    inputs = [
        metric_types.StandardMetricInputs(
            label=np.asarray([1]),
            prediction=np.asarray([0.2, 0.8] if right else [0.8, 0.2]),
            example_weight=np.asarray([1.0]),
            features={"id": np.asarray([identity.encode()]), CERTIFIED_BY + ROBUST: np.asarray([bound.encode()])},
        )
        for identity, right, bound in rows
    ]
    (computation,) = metric.computations(eval_config=eval_config(preset("smoke")))
    combiner, parts = computation.combiner, []
    for part in (inputs[::2], inputs[1::2]):
        accumulator = combiner.create_accumulator()
        for element in part:
            accumulator = combiner.add_input(accumulator, element)
        parts.append(accumulator)
    ((key, value),) = combiner.extract_output(combiner.merge_accumulators(parts)).items()
    assert key.name == metric.name
    return float(value)


THREE_IMAGES = [("a", True, "ibp"), ("a", True, "ibp"), ("b", True, ""), ("b", True, ""), ("c", False, "")]


@pytest.mark.parametrize(
    ("rows", "worst_case", "certified"),
    [
        (THREE_IMAGES, 2 / 3, 1 / 3),
        ([(identity, True, "none") for identity in "aab"], 1.0, 0.0),
        ([("a", True, "alpha-crown"), ("a", False, "alpha-crown"), ("b", True, "crown")], 0.5, 0.5),
        ([("a", False, "ibp"), ("a", True, "ibp"), ("a", True, "ibp")], 0.0, 0.0),
    ],
    ids=["empty-and-named", "no-bound", "contradicted-by-an-attack", "contradicted-by-the-clean-row"],
)
def test_an_image_counts_if_it_holds_on_all_its_rows(
    rows: list[tuple[str, bool, str]], worst_case: float, certified: float
) -> None:
    assert measured(WorstCaseAccuracy(), rows) == pytest.approx(worst_case)
    assert measured(CertifiedAccuracy(), rows) == pytest.approx(certified)
    assert measured(CertifiedAccuracy(), rows[::-1]) == pytest.approx(certified)


def test_metrics_of_no_rows_are_not_a_number() -> None:
    assert np.isnan(measured(CertifiedAccuracy(), []))
    assert np.isnan(measured(WorstCaseAccuracy(), []))


def test_the_evaluator_is_told_every_gate() -> None:
    """With the value that was set, on the slice that the gate is about."""
    config = override(
        preset("smoke"),
        ["gates.clean=0.5", "gates.transfer_fgsm=0.4", "gates.worst_case=0.3", "gates.certified=0.25"],
    )
    found = {}
    (specs,) = eval_config(config).metrics_specs
    for metric in specs.metrics:
        for per_slice in metric.per_slice_thresholds:
            for slicing in per_slice.slicing_specs:
                bound = per_slice.threshold.value_threshold.lower_bound.value
                found[metric.class_name, slicing.feature_values.get("attack")] = bound
    assert found == {
        ("SparseCategoricalAccuracy", CLEAN): 0.5,
        ("SparseCategoricalAccuracy", "fgsm@undefended"): 0.4,
        ("WorstCaseAccuracy", None): 0.3,
        ("CertifiedAccuracy", None): 0.25,
    }
    assert [gate.name for gate in gates(config)] == ["clean", "transfer_fgsm", "worst_case", "certified"]


def test_a_shard_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"one"
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_shard(str(tmp_path / "data_tfrecord-00000-of-00001"), broken())
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError, match="expected shards named data_tfrecord-"):
        list_shards(str(tmp_path))


def test_a_shard_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/shard: "):
        write_shard(str(tmp_path / "file" / "shard"), [b"one"])


def push(small_models: dict[str, str], tmp_path: Path, blessed: bool = True) -> PushedModel:
    blessing = artifact(ModelBlessing, str(tmp_path / "blessing"))
    blessing.set_int_custom_property("blessed", int(blessed))
    pushed = artifact(PushedModel, str(tmp_path / "pushed"))
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=filesystem))
    inputs = {"model": [artifact(Model, small_models["robust"])], "model_blessing": [blessing]}
    pusher.Executor().Do(inputs, {"pushed_model": [pushed]}, {"push_destination": destination})
    return pushed


def test_a_blessed_model_is_pushed_as_a_version(small_models: dict[str, str], tmp_path: Path) -> None:
    pushed = push(small_models, tmp_path)
    (version,) = os.listdir(tmp_path / "serving")
    assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving" / version)
    answer = tf.saved_model.load(str(tmp_path / "serving" / version)).signatures["serving_default"]
    assert "probabilities" in answer.structured_outputs


def test_a_refused_model_is_not_pushed(small_models: dict[str, str], tmp_path: Path) -> None:
    pushed = push(small_models, tmp_path, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_model_that_is_served_is_not_pushed_again_and_one_that_is_not_is(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    first = push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    assert push(small_models, tmp_path).get_string_custom_property("pushed_destination") == first
    other = push({"robust": small_models["undefended"]}, tmp_path).get_string_custom_property("pushed_destination")
    back = push(small_models, tmp_path).get_string_custom_property("pushed_destination")
    assert int(os.path.basename(first)) < int(os.path.basename(other)) < int(os.path.basename(back))
    shutil.rmtree(back)
    shutil.rmtree(other)
    shutil.rmtree(first)
    assert os.path.isdir(push(small_models, tmp_path).get_string_custom_property("pushed_destination"))


@pytest.mark.parametrize("files_before", [0, 2], ids=["at-once", "in-the-middle"])
def test_a_full_disk_leaves_nothing_half_pushed(
    small_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_before: int
) -> None:
    copy, copied = io_utils.copy_file, []

    def full(source: str, target: str, overwrite: bool = False) -> None:
        if len(copied) >= files_before:
            raise OSError(errno.ENOSPC, "No space left on device", target)
        copied.append(target)
        copy(source, target, overwrite)

    monkeypatch.setattr(io_utils, "copy_file", full)
    monkeypatch.setattr(io_utils.fileio, "copy", full)
    with pytest.raises(RunError, match=r"could not be pushed to .*No space left on device.*nothing was changed there"):
        push(small_models, tmp_path)
    assert not (tmp_path / "serving").exists() or os.listdir(tmp_path / "serving") == []


def test_beam_counts_what_was_attacked() -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([3, 4]) | beam.Map(beam.metrics.Metrics.counter(adversarial.METRICS, "attacked").inc)
    assert adversarial.count(pipeline, "attacked") == 7
    assert adversarial.count(pipeline, "nothing") == 0
