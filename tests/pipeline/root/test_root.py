"""The layout of a root, its lock and its metadata."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.errors import ConfigError, RunError
from pipeline.root import root as module
from pipeline.root.root import Root


def test_the_layout_is_the_one_that_earlier_versions_made() -> None:
    root = Root(Path("/r"))
    assert {
        str(path)
        for path in (
            root.serving, root.artifacts, root.evaluations, root.log, root.results("7"),
            root.run_log("7"),
        )
    } == {
        "/r/serving", "/r/artifacts", "/r/evaluations", "/r/log.txt", "/r/results/7",
        "/r/results/7/log.txt",
    }  # fmt: skip
    assert root.connection.sqlite.filename_uri == "/r/metadata.sqlite"
    assert str(root) == "/r"


def test_a_root_is_locked_once_and_the_message_names_the_holder(tmp_path: Path) -> None:
    root = Root(tmp_path)
    holder = rf"^again \(process {os.getpid()} on \S+ since 20.* UTC\); wait for it, or end it$"
    with root.locked("busy"), pytest.raises(RunError, match=holder), root.locked("again"):
        pytest.fail("locked twice")
    with root.locked("busy"):
        assert (tmp_path / ".lock").exists()


def test_a_change_by_hand_needs_a_root_and_waits_for_no_run(tmp_path: Path) -> None:
    root = Root(tmp_path)
    with pytest.raises(ConfigError, match="is no root of a pipeline: it has no metadata"):
        root.under_change().__enter__()
    with root.metadata():
        pass
    with root.locked("busy"), root.under_change() as store:
        assert store.get_artifacts() == []


def test_where_no_link_can_be_made_the_data_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    assert Root(tmp_path).link_data("/data/mnist/3.0.1") == "/data/mnist/3.0.1"


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
input()
"""


def test_metadata_that_another_process_holds_are_told_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(tmp_path)
    sqlite3.connect(tmp_path / "metadata.sqlite").close()
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "metadata.sqlite")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=r"another process holds .*/metadata.sqlite:"):
            root.check_metadata()
        holder.communicate("\n")
    root.check_metadata()


def test_a_file_of_metadata_that_is_none_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "metadata.sqlite").write_bytes(b"no database at all, " * 100)
    with (
        pytest.raises(RunError, match=r"sqlite cannot be used: file is not a database; mend it"),
        Root(tmp_path).metadata(),
    ):
        pass


def test_in_a_folder_of_a_group_all_is_for_the_group(tmp_path: Path) -> None:
    root = Root(tmp_path)
    tmp_path.chmod(0o770)
    before = os.umask(0o077)
    try:
        root.share()
        with root.metadata():
            root.log.touch()
        assert os.umask(0o077) == 0o007
        tmp_path.chmod(0o750)
        root.share()
        assert os.umask(before) == 0o077, "the folder is its owner's alone"
    finally:
        os.umask(before)
    assert (tmp_path / "metadata.sqlite").stat().st_mode & 0o777 == 0o660
    assert root.log.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o644), (0o2750, 0o640), (0o700, 0o600)])
def test_who_may_read_a_root_may_read_new_metadata_whatever_the_umask(
    tmp_path: Path, folder: int, file: int
) -> None:
    tmp_path.chmod(folder)
    metadata = tmp_path / "metadata.sqlite"
    before = os.umask(0o077)
    try:
        with Root(tmp_path).metadata():
            assert metadata.stat().st_mode & 0o777 == file
        metadata.chmod(0o600)
        with Root(tmp_path).metadata():
            assert metadata.stat().st_mode & 0o777 == 0o600, "somebody wanted that"
    finally:
        os.umask(before)
