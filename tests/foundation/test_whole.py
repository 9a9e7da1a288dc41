"""Files that are written whole or not at all, and what is no file of its own."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from foundation import whole
from foundation.whole import is_stream, write_text, write_whole


def test_a_text_takes_the_place_of_another(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    file.chmod(0o640)
    write_text(str(file), "naïve")
    assert file.read_text(encoding="utf-8") == "naïve"
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_after_a_failure_the_old_text_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text("old")

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.json", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "old")]


def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that is mounted into a container by itself."""

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(OSError, match="busy"):
        write_text(tmp_path / "a.json", "new")
    (tmp_path / "a.json").write_text("something longer")
    write_text(tmp_path / "a.json", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "new")]


def test_a_pipe_gets_the_text(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert is_stream(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join(10)
    assert read == ["text"]
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("target", ["file", "pipe"])
def test_standard_output_gets_the_text_after_what_was_printed(target: str, tmp_path: Path) -> None:
    program = (
        "import sys; from foundation.whole import write_text; print('first', flush=True); "
        "write_text('/dev/stdout', 'second\\n'); print('third')"
    )
    command = [sys.executable, "-c", program]
    with open(tmp_path / "out", "wb") as output:
        done = subprocess.run(
            command, check=True, stdout=output if target == "file" else subprocess.PIPE
        )
    printed = (tmp_path / "out").read_bytes() if target == "file" else done.stdout
    assert printed.split() == [b"first", b"second", b"third"]


def test_nothing_is_half_written_by_a_kill(tmp_path: Path) -> None:
    def killed(partial: Path) -> None:
        partial.write_text("{")
        raise KeyboardInterrupt

    write_text(tmp_path / "a.json", "{}")
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.json", killed)
    assert json.loads((tmp_path / "a.json").read_text()) == {}
