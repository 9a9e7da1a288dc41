"""The record of attacked images: its columns in the file and in memory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_rows import SHAPE, column, small_rows

from components.records.names import CHAMPION, CLEAN, FGSM, ROBUST, Origin
from components.records.record import Rows, batch_of, models_of, read_rows
from components.records.shards import shard_path, write_shard
from robustness.config import Norm, ThreatModel

IN_THE_FILE = {
    "id": [b"a\0"],
    "attack": [b"fgsm@robust"],
    "image": [0.25, 0.5, 0.75, 1.0],
    "label": [7],
    "norm": [b"linf"],
    "epsilon": [0.1],
    "seed": [5],
    "prediction_robust": [3],
    "prediction_champion": [-1],
    "broken_by_robust": [b"fgsm"],
    "certified_by_robust": [b"none"],
    "judged_by_robust": [b"ibp,fgsm"],
    "passed_checks": [b"proofs_hold"],
    "failed_checks": [b""],
}
"""A row as artifacts have it that were written before this module was."""


def stored() -> bytes:
    """`IN_THE_FILE` as a tf.Example."""
    example = tf.train.Example()
    for name, values in IN_THE_FILE.items():
        feature = example.features.feature[name]
        kind = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}
        kind[type(values[0])].value.extend(values)
    return example.SerializeToString()


def same(one: Rows, other: Rows) -> bool:
    """Whether all columns are equal."""
    mine, theirs = (dataclasses.asdict(rows) for rows in (one, other))
    return str(mine) == str(theirs)


def test_a_record_is_read_as_it_was_written_before() -> None:
    assert models_of(stored()) == [CHAMPION, ROBUST]
    rows = Rows.parse([stored()], models_of(stored()), SHAPE)
    assert (rows.id[0], rows.attack[0], rows.label[0], rows.seed[0]) == (
        b"a\0",
        "fgsm@robust",
        7,
        5,
    )
    assert (rows.norm[0], rows.epsilon[0]) == ("linf", np.float32(0.1))
    assert rows.image is not None
    np.testing.assert_array_equal(rows.image.ravel(), [0.25, 0.5, 0.75, 1.0])
    assert {model: predicted[0] for model, predicted in rows.predictions.items()} == {
        ROBUST: 3,
        CHAMPION: -1,
    }
    assert (rows.broken_by[ROBUST][0], rows.certified_by[ROBUST][0]) == ("fgsm", "none")
    assert rows.judged_by[ROBUST][0] == "ibp,fgsm"
    assert (rows.passed_checks[0], rows.failed_checks[0]) == ("proofs_hold", "")
    assert CHAMPION not in {*rows.broken_by, *rows.certified_by, *rows.judged_by}


def test_a_record_is_written_as_it_was_before() -> None:
    (record,) = Rows.parse([stored()], [CHAMPION, ROBUST], SHAPE).serialize()
    assert tf.train.Example.FromString(record) == tf.train.Example.FromString(stored())


def test_the_features_of_a_record_make_rows_too() -> None:
    """As TFMA hands them over: a column for the rows of an image, some with an axis more."""
    names = Rows.features([ROBUST, CHAMPION])
    assert set(names) == IN_THE_FILE.keys() - {"image"}
    features: dict[str, Any] = {name: np.array([IN_THE_FILE[name]] * 2) for name in names}
    features["label"] = features["label"].ravel()
    features["id"] = np.array([[b"a\0"]] * 2, object)
    rows = Rows.of_features(features | {"more": np.zeros((2, 3))})
    parsed = Rows.parse([stored()] * 2, [CHAMPION, ROBUST])
    assert rows.image is None
    for name in ("id", "attack", "label", "norm", "seed", "passed_checks"):
        assert getattr(rows, name).tolist() == getattr(parsed, name).tolist()
    assert rows.predictions[CHAMPION].tolist() == [-1, -1]
    assert rows.judged_by[ROBUST].tolist() == ["ibp,fgsm"] * 2


def test_the_champions_answers_on_other_rows_are_kept_where_there_are_any() -> None:
    row = Rows.parse([stored()], [CHAMPION, ROBUST], SHAPE)
    assert row.champion_on is None, "as before"
    said = dataclasses.replace(row, champion_on=column("clean:3,fgsm@robust:4", 1))
    (record,) = said.serialize()
    assert same(Rows.parse([record], models_of(record), SHAPE), said)


@pytest.mark.parametrize(
    ("shape", "images"), [((28, 28, 1), 500), ((224, 224, 3), 111), ((9000, 9000, 3), 1)]
)
def test_images_in_memory_have_a_bound_in_bytes(shape: tuple[int, int, int], images: int) -> None:
    assert batch_of(shape) == images


def test_some_rows_are_chosen_and_parts_joined() -> None:
    rows = small_rows((b"a", CLEAN, 0.1), (b"b", CLEAN, 0.2), (b"a", "fgsm@robust", 0.3))
    assert rows[rows.attack == CLEAN].id.tolist() == [b"a", b"b"]
    assert rows[[2, 0]].attack.tolist() == ["fgsm@robust", CLEAN]
    assert len(rows[3:]) == 0
    assert list(rows[3:].serialize()) == []
    assert same(Rows.concatenate([rows[:1], rows[1:]]), rows)


def test_a_model_more() -> None:
    rows = small_rows((b"a", CLEAN, 0.1), (b"b", CLEAN, 0.2))
    more = rows.with_model(CHAMPION, np.array([4, 5]))
    assert more.predictions[CHAMPION].tolist() == [4, 5]
    assert more.predictions[ROBUST].tolist() == [0, 0]
    assert CHAMPION not in rows.predictions


def test_clean_rows_under_an_attack() -> None:
    clean = small_rows((b"a", CLEAN, 0.1), (b"b", CLEAN, 0.2))
    clean = dataclasses.replace(clean, passed_checks=column("proofs_hold", 2))
    assert clean.image is not None
    threat = ThreatModel(norm=Norm.L2, epsilon=0.3)
    predictions = {ROBUST: np.array([1, 2])}
    rows = clean.attacked(Origin(FGSM, ROBUST), clean.image + 0.1, threat, predictions)
    assert rows.attack.tolist() == ["fgsm@robust"] * 2
    assert rows.norm.tolist() == ["l2"] * 2
    assert rows.epsilon.tolist() == pytest.approx([0.3] * 2)
    assert rows.predictions == predictions
    assert rows.id.tolist() == clean.id.tolist()
    assert rows.passed_checks.tolist() == ["proofs_hold"] * 2


def test_columns_are_equally_long() -> None:
    rows = small_rows((b"a", CLEAN, 0.1), (b"b", CLEAN, 0.2))
    with pytest.raises(ValueError, match=r"equally long, got .*'prediction_champion': 3"):
        rows.with_model(CHAMPION, np.zeros(3, np.int64))


def test_a_record_without_a_column_or_with_another_image() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="_undefended"):
        Rows.parse([stored()], [ROBUST, "undefended"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        Rows.parse([stored()], [ROBUST], (3, 3, 1))


def test_shards_are_read_in_batches(tmp_path: Path) -> None:
    rows = small_rows(*((b"%d" % i, CLEAN, i / 10) for i in range(5)))
    paths = [shard_path(str(tmp_path), i, 3, compressed=False) for i in range(3)]
    for path, part in zip(paths, (rows[:3], rows[3:3], rows[3:]), strict=True):
        write_shard(path, part.serialize())
    batches = list(read_rows(paths, batch=2, image_shape=SHAPE))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert same(Rows.concatenate(batches), rows)
    assert list(read_rows(paths[1:2], batch=2)) == []
