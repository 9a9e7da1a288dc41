"""Spans of data: the newest is taken, and one that drifted from the last, or is skewed in itself,
ends the run."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from small_world import artifact
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema, String

from components.anomaly_gate import (
    ACCEPTED_CLASSES,
    AnomalyGate,
    LastSpan,
    beyond,
    refuse_beyond,
    statistics_file,
)
from components.datasets.folder.spans import spans
from components.evaluator.asked import gates
from components.policy import GatesConfig
from components.records.labels import write_labels
from components.records.shards import write_shard
from components.schema import derived_schema
from components.spans import newest_accepted
from components.tfds_example_gen.reading import to_example
from foundation.errors import ConfigError, DataError
from gauntlet.configuration import configured
from trainer.classes import CLASS_NAMES, read_names

pytestmark = pytest.mark.usefixtures("in_memory_beam")

DIGITS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Images:
    """MNIST-like images; `light` scales their brightness."""

    n: int
    seed: int
    light: float = 1.0
    classes: int = 10


@cache
def measured(images: Images) -> bytes:
    """What StatisticsGen writes of them."""
    rng = np.random.default_rng(images.seed)
    records = []
    for i in range(images.n):
        pixels = rng.random((28, 28, 1)) * rng.uniform(60, 120) * images.light
        png = tf.io.encode_png(pixels.astype(np.uint8)).numpy()
        example = to_example(b"%d" % i, png, int(rng.integers(images.classes)))
        records.append(example.SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        write_shard(f"{folder}/images.gz", records)
        found = tfdv.generate_statistics_from_tfrecord(f"{folder}/images.gz")
    return bytes(found.SerializeToString())


def statistics(folder: Path, train: Images, test: Images) -> ExampleStatistics:
    """An artifact of StatisticsGen."""
    for split, images in (("train", train), ("test", test)):
        (folder / f"Split-{split}").mkdir(parents=True)
        Path(statistics_file(str(folder / f"Split-{split}"))).write_bytes(measured(images))
    return artifact(ExampleStatistics, str(folder), split_names='["train","test"]')


def passed(
    folder: Path,
    found: ExampleStatistics,
    span: int,
    spans: Path,
    last: str = "",
    names: Sequence[str] = DIGITS,
    accept_classes: int = 0,
    dataset: str = "",
) -> Any:
    """The gate's output; raises what the gate raises."""
    (folder / "schema").mkdir(parents=True)
    schema = derived_schema((28, 28, 1), len(names), names)
    (folder / "schema" / "schema.pbtxt").write_text(schema)
    accepted = artifact(ExampleStatistics, str(folder / "accepted"))
    inputs = {
        "anomalies": [artifact(ExampleAnomalies, str(folder / "anomalies"), split_names="[]")],
        "statistics": [found],
        "schema": [artifact(Schema, str(folder / "schema"))],
    }
    parameters = {
        "span": span, "last": last, "spans": str(spans), "accept_classes": accept_classes,
        "dataset": dataset,
    }  # fmt: skip
    AnomalyGate.EXECUTOR_SPEC.executor_class().Do(inputs, {"accepted": [accepted]}, parameters)
    return accepted


def last_span(spans: Path, before: int, dataset: str = "") -> str:
    """What LastSpan answers."""
    answer = artifact(String, str(spans.parent / f"answer-{before}{dataset}"))
    parameters = {"spans": str(spans), "before": before, "dataset": dataset}
    LastSpan.EXECUTOR_SPEC.executor_class().Do({}, {"accepted": [answer]}, parameters)
    return str(answer.read())


@pytest.fixture(scope="module")
def first(in_memory_beam: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of spans in which the first was accepted."""
    folder = tmp_path_factory.mktemp("first")
    found = statistics(folder / "statistics", Images(400, 0), Images(200, 1))
    passed(folder, found, 1, folder / "spans")
    return folder / "spans"


def test_a_span_like_the_last_one_passes(first: Path, tmp_path: Path) -> None:
    last = last_span(first, before=2)
    assert Path(last).parent == first / "1"
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    second = passed(tmp_path, found, 2, tmp_path / "spans", last)
    assert Path(statistics_file(second.uri)).read_bytes()
    kept = last_span(tmp_path / "spans", before=3)
    assert (
        Path(statistics_file(kept)).read_bytes() == Path(statistics_file(second.uri)).read_bytes()
    )
    assert Path(kept).parent == tmp_path / "spans" / "2"


@pytest.mark.parametrize(
    ("change", "feature"),
    [({"light": 1.6}, "brightness"), ({"classes": 3}, "label")],
    ids=["brighter", "fewer"],
)
def test_a_drifted_span_names_its_features(
    first: Path, tmp_path: Path, change: dict[str, Any], feature: str
) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2, **change), Images(200, 3, **change))
    with pytest.raises(
        DataError, match=rf"(?s)span 2, compared with span 1.*- feature {feature}: drift: "
    ) as error:
        passed(tmp_path, found, 2, tmp_path / "spans", newest_accepted(str(first), before=2))
    assert "skew" not in str(error.value)
    assert not (tmp_path / "accepted").exists()
    assert not (tmp_path / "spans").exists()


def test_training_images_unlike_the_test_images_are_skewed(tmp_path: Path) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2, light=1.6), Images(200, 3))
    with pytest.raises(DataError, match="- feature brightness: skew of the training split"):
        passed(tmp_path, found, 1, tmp_path / "spans")


def test_data_without_spans_is_not_compared(tmp_path: Path) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2, light=1.6), Images(200, 3))
    passed(tmp_path, found, 0, tmp_path / "spans")
    assert not (tmp_path / "spans").exists()


@pytest.mark.parametrize("folder", ["spans", "spans [v2]"])
def test_the_last_span_is_the_newest_before_this_one(tmp_path: Path, folder: str) -> None:
    """What else lies there, such as a copy that somebody keeps, is none."""
    spans = tmp_path / folder
    days = ("1/20260101", "3/20260101", "3/20260102", "2/20260103", "10/20260101")
    kept = [f"{day}T000000.000000Z" for day in days]
    for name in (*kept, "2.bak/x", "0/20260101T000000.000000Z", "3/z_tmp", "\u00b2/x"):
        (spans / name).mkdir(parents=True)
        Path(statistics_file(str(spans / name))).write_text(name)
    (spans / "3" / "20260104T000000.000000Z").mkdir()  # what a killed gate leaves
    answers = {before: last_span(spans, before) for before in (1, 4, 99)}
    assert answers == {4: str(spans / kept[2]), 99: str(spans / kept[4]), 1: ""}
    assert last_span(tmp_path / "nowhere", before=5) == ""


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x0a\x02\x08\x01"])
def test_damaged_statistics_of_the_last_span_are_named(
    first: Path, tmp_path: Path, content: bytes
) -> None:
    last = tmp_path / "last"
    last.mkdir()
    Path(statistics_file(str(last))).write_bytes(content)
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    with pytest.raises(DataError, match=f"{last}/FeatureStats.pb is damaged"):
        passed(tmp_path, found, 2, tmp_path / "spans", str(last))


def test_a_span_that_is_kept_already_is_kept_once(first: Path, tmp_path: Path) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    for run in ("1", "2"):
        passed(tmp_path / run, found, 2, tmp_path / "spans", last_span(first, before=2))
    assert len(list((tmp_path / "spans" / "2").iterdir())) == 1


def test_another_series_of_deliveries_is_not_the_last_span(tmp_path: Path) -> None:
    """Two folders of spans in one root: neither drifts from the other, nor hides a drift."""
    spans, bright = tmp_path / "spans", Images(400, 2, light=1.6)
    found = statistics(tmp_path / "pets", Images(400, 0), Images(200, 1))
    passed(tmp_path / "1", found, 1, spans, dataset="pets")
    other = statistics(tmp_path / "plants", bright, Images(200, 3, light=1.6))
    assert newest_accepted(str(spans), 2, "plants") == ""
    passed(tmp_path / "2", other, 2, spans, last_span(spans, 2, "plants"), dataset="plants")
    last = last_span(spans, 3, "pets")
    assert Path(last).parent == spans / "1"
    with pytest.raises(DataError, match=r"(?s)span 3, compared with span 1.*brightness: drift"):
        passed(tmp_path / "3", other, 3, spans, last, dataset="pets")
    assert Path(last_span(spans, 4, "plants")).parent == spans / "2"


def test_statistics_that_say_no_data_set_are_those_of_any(first: Path) -> None:
    """As versions before this one kept them: a drift must not go unseen after an upgrade."""
    assert last_span(first, 2, "pets") == last_span(first, 2)


REPLACED = ["cow", *DIGITS[1:]]


def test_a_class_that_was_replaced_is_named_before_drift_is_looked_at(
    first: Path, tmp_path: Path
) -> None:
    """The images are darker too, and not a word of that."""
    last = last_span(first, before=2)
    found = statistics(tmp_path / "statistics", Images(400, 2, light=1.6), Images(200, 3))
    with pytest.raises(DataError, match=r"than span 1: 0 is gone, cow is new.*Nothing") as error:
        passed(tmp_path, found, 2, tmp_path / "spans", last, REPLACED)
    assert "--accept-classes" in str(error.value)
    assert "brightness" not in str(error.value)
    assert not (tmp_path / "spans").exists()


def test_a_class_that_was_replaced_can_be_accepted_and_is_then_what_is_known(
    first: Path, tmp_path: Path
) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    last, spans = last_span(first, before=2), tmp_path / "spans"
    accepted = passed(tmp_path / "2", found, 2, spans, last, REPLACED, accept_classes=1)
    assert accepted.get_string_custom_property(ACCEPTED_CLASSES) == "0 is gone, cow is new"
    last = last_span(spans, before=3)
    assert read_names(last) == tuple(REPLACED)
    third = passed(tmp_path / "3", found, 3, spans, last, REPLACED)
    assert third.get_string_custom_property(ACCEPTED_CLASSES) == ""
    with pytest.raises(DataError, match="than span 2: cow is gone, 0 is new"):
        passed(tmp_path / "again", found, 3, spans, last)


def test_accepted_classes_excuse_no_drift(first: Path, tmp_path: Path) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2, light=1.6), Images(200, 3))
    last = last_span(first, before=2)
    with pytest.raises(DataError, match="feature brightness: drift"):
        passed(tmp_path, found, 2, tmp_path / "spans", last, REPLACED, accept_classes=1)


@pytest.mark.parametrize("classes", [10, 3])
def test_of_statistics_without_names_the_number_of_classes_is_compared(
    first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, classes: int
) -> None:
    """As versions before this one kept them."""
    last = Path(shutil.copytree(last_span(first, before=2), tmp_path / "kept" / "1" / "then"))
    (last / CLASS_NAMES).unlink()
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    if classes == 10:
        passed(tmp_path, found, 2, tmp_path / "spans", str(last))
        assert "no class names are kept of span 1: only their number is compared" in caplog.text
        return
    with pytest.raises(DataError, match="than span 1: there were 10 classes, now there are 3"):
        passed(tmp_path, found, 2, tmp_path / "spans", str(last), ["a", "b", "c"])


def test_a_span_that_was_kept_without_names_is_kept_again_with_them(tmp_path: Path) -> None:
    found = statistics(tmp_path / "statistics", Images(400, 2), Images(200, 3))
    spans = tmp_path / "spans"
    passed(tmp_path / "1", found, 1, spans)
    (Path(last_span(spans, before=2)) / CLASS_NAMES).unlink()
    passed(tmp_path / "2", found, 1, spans)
    assert read_names(last_span(spans, before=2)) == tuple(DIGITS)


@pytest.fixture
def deliveries(tmp_path: Path) -> Path:
    """Spans 1, 2 and 10, and a folder that is none."""
    for span in ("span-1", "span-2", "span-10", "notes"):
        for split in ("train", "test"):
            for label in ("a", "b"):
                (tmp_path / span / split / label).mkdir(parents=True)
                for i in range(3):
                    picture = tf.io.encode_png(np.zeros((20, 18, 1), np.uint8)).numpy()
                    (tmp_path / span / split / label / f"{i}.png").write_bytes(picture)
    return tmp_path


def test_the_newest_span_is_taken_unless_another_is_named(deliveries: Path) -> None:
    assert sorted(spans(str(deliveries))) == [1, 2, 10]
    setting = f"data.dataset={deliveries}"
    for assignments, span in (((setting,), 10), ((setting, "data.span=2"), 2)):
        data = configured("smoke", assignments).data
        assert (data.span, data.dataset) == (span, str(deliveries / f"span-{span}"))
        assert data.image_shape == (20, 18, 1)
    plain = configured("smoke", (f"data.dataset={deliveries / 'notes'}",)).data
    assert (plain.span, plain.dataset) == (0, str(deliveries / "notes"))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("", "has no folder span-3; its spans are 1, 2, 10"), ("mnist", "is for a folder of spans")],
)
def test_a_span_that_is_not_there(deliveries: Path, dataset: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured("smoke", (f"data.dataset={dataset or deliveries}", "data.span=3"))


@pytest.mark.parametrize("images", [20, 400])
def test_a_run_ends_where_a_gate_can_let_no_model_pass(images: int, tmp_path: Path) -> None:
    """20 of 20 have a lower end of 83.2 % (Clopper and Pearson)."""
    write_labels([("test", {0: images // 2, 1: images // 2})], str(tmp_path))
    asked = [gate.plain() for gate in gates(GatesConfig(clean=0.9, checks=()))]
    if images == 400:
        refuse_beyond(asked, str(tmp_path))
        return
    with pytest.raises(ConfigError, match="clean, worst_case: No model can pass on 20 ") as caught:
        refuse_beyond(asked, str(tmp_path))
    assert "data.test" in str(caught.value)
    assert "--anyway" in str(caught.value)


def test_what_no_model_can_pass_on_so_few_images_is_said() -> None:
    """36 of 36 have a lower end of 90.26 %, and 0.98 takes 183 (Clopper and Pearson, by SciPy)."""
    asked = gates(GatesConfig(clean=0.9, worst_case=0.98, worst_class=0.5), ("cat", "dog"))
    plain = [gate.plain() for gate in asked]
    few = list(beyond(plain, {0: 30, 1: 6}))
    assert few[0].startswith("worst_case: No model can pass on 36 images")
    assert few[0].endswith("it takes at least 183 images.")
    assert "worst_class" not in " ".join(few), "6 of 6 have a lower end of 54 %"
    assert "logits_are_finite, iterated_beats_one_step" in few[1]
    assert few[1].endswith(": 36 images are too few to tell; 45 can.")
    largest = "large_epsilon_breaks_everything: 6 images outside of the largest class are too few"
    assert few[2] == f"{largest} to tell; 37 can."
    (worst,) = [text for text in beyond(plain, {0: 300, 1: 5}) if "class" in text.split(":")[0]]
    assert worst.endswith("it takes at least 6 images. So few are of class 1 (dog).")
    assert list(beyond(plain, {0: 150, 1: 150})) == []
