"""Folders of temporary files: what killed processes left is removed, and nothing else."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from foundation.temporary import temporary_folder

HOLD = """
import time
from foundation.temporary import temporary_folder

with temporary_folder() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_goes_with_its_process_or_after_it(place: Path) -> None:
    (place / "gauntlet-abcd").mkdir()  # the log of something that failed, or somebody's own
    os.utime(place / "gauntlet-abcd", (0, 0))
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        held = Path(holder.stdout.readline().strip())
        os.utime(held, (0, 0))
        with temporary_folder() as folder:
            assert {path.name for path in place.iterdir()} == {
                "gauntlet-abcd", held.name, folder.name,
            }  # fmt: skip
        holder.kill()
    with temporary_folder() as folder:
        assert not held.exists()
    assert [path.name for path in place.iterdir()] == ["gauntlet-abcd"]


def test_a_new_folder_may_not_be_locked_yet(place: Path) -> None:
    (place / "gauntlet-child-abcd").mkdir()
    with temporary_folder():
        assert (place / "gauntlet-child-abcd").exists()


def test_without_locks_nothing_is_taken_for_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    with temporary_folder() as one:
        os.utime(one, (0, 0))
        with temporary_folder():
            assert one.exists()
    assert list(place.iterdir()) == []
