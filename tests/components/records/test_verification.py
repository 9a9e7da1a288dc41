"""What was written is read back and compared with the clean images."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rows import small_rows

from components.records import verification
from components.records.names import CLEAN, FGSM, ROBUST, UNDEFENDED, Origin
from components.records.record import Rows
from components.records.shards import shard_path, write_shard
from components.records.verification import Verified, write_checked
from foundation.errors import RunError
from robustness.config import ThreatModel

ORIGINS = (Origin(CLEAN), Origin(FGSM, ROBUST))
ATTACKED = str(ORIGINS[1])


def write(folder: Path, *batches: Rows) -> Verified:
    path = shard_path(str(folder), 0, 1, compressed=False)
    return write_checked(path, batches, ThreatModel(epsilon=0.1), ORIGINS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            small_rows((b"a", CLEAN, 0.5), (b"a", ATTACKED, 0.61)),
            "1 attacked images lie outside the linf ball of radius 0.1",
        ),
        (
            small_rows((b"a", CLEAN, 0.95), (b"a", ATTACKED, 1.01)),
            "1 attacked images lie outside",
        ),
        (
            small_rows((b"a", CLEAN, 0.5), (b"a", ATTACKED, float("nan"))),
            "1 attacked images lie outside",
        ),
        (
            small_rows((b"a", CLEAN, 1.05), (b"a", ATTACKED, 1.0)),
            "1 attacked images lie outside",
        ),
        (small_rows((b"a", CLEAN, 0.5)), "1 of them with missing rows"),
        (
            small_rows((b"a", ATTACKED, 0.5), (b"a", str(Origin(FGSM, UNDEFENDED)), 0.5)),
            "1 of them with missing rows",
        ),
        (
            small_rows((b"a", CLEAN, 0.5), (b"a", ATTACKED, 0.5), (b"a", ATTACKED, 0.5)),
            "1 of them with missing rows",
        ),
        (
            small_rows((b"a", CLEAN, 0.5), (b"a", str(Origin(FGSM, UNDEFENDED)), 0.5)),
            "1 of them with missing rows",
        ),
    ],
    ids=[
        "outside-the-ball",
        "outside-the-range",
        "nan",
        "clean-outside-the-range",
        "row-missing",
        "clean-missing",
        "row-twice",
        "another-row",
    ],
)
def test_what_was_written_is_checked(tmp_path: Path, rows: Rows, message: str) -> None:
    with pytest.raises(RunError, match=message):
        write(tmp_path, rows)
    assert os.listdir(tmp_path) == [], "a shard that is not right stays"


def test_an_image_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that forgets the second image."""
    rows = small_rows(*((i, attack, 0.5) for i in (b"a", b"b") for attack in (CLEAN, ATTACKED)))
    monkeypatch.setattr(
        verification, "write_shard", lambda path, records: write_shard(path, list(records)[:2])
    )
    with pytest.raises(RunError, match="2 images were attacked, 1 were read back"):
        write(tmp_path, rows)


def test_an_attacked_image_that_comes_before_its_clean_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be compared, so it does not pass."""
    monkeypatch.setattr(verification, "batch_of", lambda shape: 1)
    with pytest.raises(RunError, match="1 of them with missing rows"):
        write(tmp_path, small_rows((b"a", ATTACKED, 0.5), (b"a", CLEAN, 0.5)))


def test_an_image_of_another_shape(tmp_path: Path) -> None:
    small = small_rows((b"a", CLEAN, 0.5), (b"a", ATTACKED, 0.5), shape=(2, 1, 1))
    large = small_rows((b"b", CLEAN, 0.5), (b"b", ATTACKED, 0.5))
    with pytest.raises(RunError, match=r"cannot be read back: .*image"):
        write(tmp_path, small, large)


@pytest.mark.parametrize("size", [1, 3, 500])
def test_valid_rows_pass_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Rows of an image in different batches, and a move that float32 rounds."""
    monkeypatch.setattr(verification, "batch_of", lambda shape: size)
    rows = small_rows((b"a", CLEAN, 0.5), (b"b", CLEAN, 0.7), (b"a", ATTACKED, 0.6))
    more = small_rows((b"b", ATTACKED, float(np.float32(0.7) + np.float32(0.1))))
    verified = write(tmp_path, rows, more)
    assert (verified.shards, verified.rows, len(set(verified.ids))) == (1, 4, 2)
    assert os.listdir(tmp_path) == ["data_tfrecord-00000-of-00001"]


@pytest.mark.parametrize("size", [1, 3, 500])
@pytest.mark.parametrize("grey", [0.6, 0.61])
def test_originals_in_another_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, grey: float
) -> None:
    """Their rows are compared with those, and none of them is written again."""
    monkeypatch.setattr(verification, "batch_of", lambda shape: size)
    originals = shard_path(str(tmp_path), 1, 2, compressed=False)
    names = [b"%d" % i for i in range(5)]
    there = [(name, attack, 0.5) for attack in (CLEAN, ATTACKED) for name in names]
    write_shard(originals, small_rows(*there).serialize())
    rows = small_rows(*((name, ATTACKED, grey if name == b"4" else 0.5) for name in names))
    path, threat = shard_path(str(tmp_path), 0, 2, compressed=False), ThreatModel(epsilon=0.1)
    if grey > 0.6:
        with pytest.raises(RunError, match="1 attacked images lie outside"):
            write_checked(path, [rows], threat, ORIGINS[1:], originals)
        return
    verified = write_checked(path, [rows], threat, ORIGINS[1:], originals)
    assert (verified.rows, len(set(verified.ids))) == (5, 5)
    strange = small_rows((b"unknown", ATTACKED, 0.5))
    with pytest.raises(RunError, match="1 of them with missing rows"):
        write_checked(path, [strange], threat, ORIGINS[1:], originals)


def test_clean_images_are_not_kept_once_their_rows_are_read(tmp_path: Path) -> None:
    kept: list[int] = []
    check = verification._Verification(ThreatModel(epsilon=0.1), ORIGINS)

    def batches() -> Any:
        for i in range(5):
            yield small_rows((b"%d" % i, CLEAN, 0.5), (b"%d" % i, ATTACKED, 0.5))

    for rows in batches():
        check._add(rows)
        kept.append(len(check._clean))
    assert kept == [0] * 5
