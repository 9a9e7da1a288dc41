"""What a run keeps of its test images counts as the gates do."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from past_runs import gate
from small_rows import SHAPE, small_rows

from components.evaluator.gate import Accuracy, WorstCase
from components.records.names import CLEAN, FGSM, ROBUST, STRONGEST, UNDEFENDED, Origin
from components.records.record import Rows
from components.records.shards import shard_path, write_shard
from components.records.table import Found, read_examples
from foundation.errors import DataError
from pipeline.report import examples
from pipeline.report.against import Pairs, read_pairs
from pipeline.report.examples import Attacked, Wanted, shown_of, within, write_found
from pipeline.root.root import EXAMPLES, IMAGES

OWN, TRANSFER = str(Origin(STRONGEST, ROBUST)), str(Origin(FGSM, UNDEFENDED))
ATTACKS = (CLEAN, TRANSFER, OWN)
IDS = (b"fine", b"wrong", b"broken", b"transferred", b"open")


def rows() -> Rows:
    """Each image is clean 0, under FGSM 0.2 and under the suite 0.4 grey; the label is 0."""
    every = small_rows(*((i, a, place / 5) for i in IDS for place, a in enumerate(ATTACKS)))
    wrong = {(b"wrong", a) for a in ATTACKS} | {(b"broken", OWN), (b"transferred", TRANSFER)}
    pairs = list(zip(every.id, every.attack, strict=True))
    broken = {b"wrong": CLEAN, b"broken": "pgd"}
    proven = {b"fine": "ibp"}
    return dataclasses.replace(
        every,
        predictions={ROBUST: np.array([int(pair in wrong) for pair in pairs])},
        broken_by={ROBUST: np.array([broken.get(i, "") for i in every.id], object)},
        certified_by={ROBUST: np.array([proven.get(i, "none") for i in every.id], object)},
    )


@pytest.fixture
def attacked(tmp_path: Path) -> Attacked:
    """The rows in two shards."""
    folder = tmp_path / "Split-test"
    for shard in range(2):
        part = rows()[shard::2]
        path = shard_path(str(folder), shard, 2, compressed=False)
        write_shard(path, part.serialize())
    return Attacked(folders=[str(folder)], shape=SHAPE)


def written(attacked: Attacked, folder: Path, ids: tuple[str, ...], name: str) -> Pairs | None:
    gates = [
        WorstCase(name="worst_case", bound=0),
        Accuracy(name="clean", bound=0, argument=(CLEAN,)),
    ]
    gates += [Accuracy(name="transfer", bound=0, argument=(TRANSFER,))]
    explanations = [gate(name, True, ids=list(ids)), gate("served", True, images_against=None)]
    write_found(folder, attacked, ["zero", "one"], explanations, gates)
    return read_pairs(folder / IMAGES, name)


def test_an_image_is_broken_too_by_what_was_made_against_another_model(
    attacked: Attacked, tmp_path: Path
) -> None:
    written(attacked, tmp_path, (), "worst_case")
    assert {each.id: each[2:] for each in read_examples(tmp_path / EXAMPLES)} == {
        "fine": (0, "", "ibp"),
        "wrong": (1, CLEAN, ""),
        "broken": (0, "pgd", ""),
        "transferred": (0, TRANSFER, ""),
        "open": (0, "", ""),
    }


@pytest.mark.parametrize(
    ("name", "identity", "shown"),
    [
        ("worst_case", "broken", OWN),
        ("worst_case", "transferred", TRANSFER),
        ("worst_case", "wrong", CLEAN),
        ("worst_case", "open", OWN),
        ("clean", "wrong", CLEAN),
        ("transfer", "transferred", TRANSFER),
        ("transfer", "wrong", TRANSFER),
    ],
)
def test_the_image_that_speaks_against_the_model_is_kept_beside_the_clean_one(
    attacked: Attacked, tmp_path: Path, name: str, identity: str, shown: str
) -> None:
    pairs = written(attacked, tmp_path, (identity,), name)
    assert pairs
    assert (pairs.id.tolist(), pairs.attack.tolist()) == ([identity], [shown])
    grey = round(255 * ATTACKS.index(shown) / 5)
    assert (pairs.clean.max(), pairs.attacked.min(), pairs.attacked.max()) == (0, grey, grey)
    fooled = identity == "wrong" or (identity, shown) in {
        ("broken", OWN),
        ("transferred", TRANSFER),
    }
    assert pairs.attacked_prediction.tolist() == [int(fooled)]
    assert pairs.clean.dtype == np.uint8


def test_a_gate_that_is_no_question_of_images_has_none(attacked: Attacked, tmp_path: Path) -> None:
    assert written(attacked, tmp_path, (), "worst_case") is not None
    assert read_pairs(tmp_path / IMAGES, "served") is None


def test_an_attack_that_a_gate_asks_for_is_shown_whatever_else_breaks_the_image() -> None:
    found = Found("a", 0, 0, "pgd", "")
    assert shown_of(found, TRANSFER) == TRANSFER
    assert shown_of(found, CLEAN) == CLEAN


def test_where_there_is_little_room_every_gate_has_its_first_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples, "BYTES", 35)
    named = {"a": [Wanted("1", OWN), Wanted("2", OWN)], "b": [Wanted("3", OWN)], "c": []}
    assert [each.id for each in within(named, 10)] == ["1", "3", "2"]
    assert [each.id for each in within(named, 20)] == ["1"]
    assert within(named, 36) == []


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_a_file_of_images_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / IMAGES).write_bytes(content)
    with pytest.raises(DataError, match=r"images\.npz is damaged"):
        read_pairs(tmp_path / IMAGES, "clean")


def test_a_file_of_which_bytes_were_changed_is_damaged(attacked: Attacked, tmp_path: Path) -> None:
    assert written(attacked, tmp_path, ("broken",), "worst_case")
    content = bytearray((tmp_path / IMAGES).read_bytes())
    for place in range(60, len(content) - 600, 7):
        content[place] ^= 0xFF
    (tmp_path / IMAGES).write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        read_pairs(tmp_path / IMAGES, "worst_case")


def test_a_file_with_other_arrays_is_damaged(attacked: Attacked, tmp_path: Path) -> None:
    np.savez(tmp_path / IMAGES, **{"gate.clean": np.zeros(1, np.int64)})
    with pytest.raises(DataError, match="is damaged"):
        read_pairs(tmp_path / IMAGES, "clean")
