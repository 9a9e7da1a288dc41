"""Locks between processes: who waits knows for whom, and waiting ends."""

import errno
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foundation import locks
from foundation.errors import RunError
from foundation.events import fields_of
from foundation.locks import LOCK, held_since, lock, serving_lock

HOLD = """
import pathlib, sys, time
from foundation.locks import lock

with lock(pathlib.Path(sys.argv[1]), "the test holds it"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_may_not_wait_is_told_who_holds_it(path: Path, holder: subprocess.Popen[str]) -> None:
    held = rf"process {holder.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d .* UTC"
    message = rf"^a run is under way \({held}\); do something else$"
    with (
        pytest.raises(RunError, match=message),
        lock(path, "a run is under way", advice="do something else"),
    ):
        raise AssertionError


def test_waiting_is_said_and_ends(
    path: Path,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locks, "SECONDS_BEFORE_TELLING", 0.1)
    caplog.set_level(logging.INFO, "gauntlet")
    message = r"^it is in use .*, for which this one has waited [1-9]"
    with pytest.raises(RunError, match=message), lock(path, "it is in use", wait_seconds=1.2):
        raise AssertionError
    (told,) = caplog.records
    assert f"it is in use (process {holder.pid} on " in told.getMessage()
    assert fields_of(told) == {"stays": True}


def test_the_lock_of_a_killed_process_is_none(path: Path, holder: subprocess.Popen[str]) -> None:
    threading.Timer(0.3, holder.send_signal, [signal.SIGKILL]).start()
    with lock(path, "it is in use", wait_seconds=60):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    with lock(path, "it is in use"):
        pass
    assert path.read_text() == ""


def test_one_at_a_time_even_where_the_file_is_removed(path: Path) -> None:
    """Threads and removed files: never are two inside."""
    inside, most = [], 0

    def work() -> None:
        nonlocal most
        for _ in range(20):
            with lock(path, "it is in use", wait_seconds=60):
                inside.append(1)
                most = max(most, len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


def test_a_file_that_was_removed_while_it_was_locked_is_no_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def remove_and_flock(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(path.unlink())
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_flock)
    with lock(path, "it is in use", wait_seconds=5):
        assert path.exists()
        with pytest.raises(RunError), lock(path, "it is in use"):
            raise AssertionError


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused_by_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    message = rf"^{path} cannot be locked \({os.strerror(number)}\)"
    with pytest.raises(RunError, match=message), lock(path, "it is in use", wait_seconds=5):
        raise AssertionError


@pytest.mark.parametrize(
    ("folder", "file"), [(0o700, 0o600), (0o755, 0o644), (0o2775, 0o664), (0o777, 0o666)]
)
def test_who_may_write_in_the_folder_may_hold_it(path: Path, folder: int, file: int) -> None:
    path.parent.chmod(folder)
    with lock(path, "it is in use"):
        assert path.stat().st_mode & 0o777 == file


@pytest.mark.parametrize("left", [lambda path: None, Path.touch], ids=["none", "empty"])
def test_a_folder_that_is_not_there_or_a_file_of_before(
    path: Path, left: Callable[[Path], None]
) -> None:
    left(path)
    with lock(path, "it is in use"):
        pass
    with pytest.raises(FileNotFoundError), lock(path.parent / "none" / "lock", "it is in use"):
        raise AssertionError


def test_a_lock_of_another_user_can_be_taken(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("root alone can be two users")
    tmp_path.chmod(0o755)
    (tmp_path / "root").mkdir(mode=0o777)
    (tmp_path / "root").chmod(0o777)
    file = tmp_path / "root" / LOCK
    file.touch(mode=0o644)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    code = HOLD.replace("with lock", "import os\nos.setuid(12345)\nwith lock").replace(
        "time.sleep(600)", ""
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], input="\n", capture_output=True, text=True,
        check=False, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr


def test_in_a_folder_of_a_group_its_members_may_sign_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o077)
    try:
        with lock(tmp_path / LOCK, "busy"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o660


def test_who_has_the_versions_has_them_within(tmp_path: Path) -> None:
    with serving_lock(str(tmp_path)), serving_lock(str(tmp_path)):
        pass
    with serving_lock("gs://bucket/serving"):
        pass


@pytest.mark.parametrize(("root", "made"), [(0o755, 0o755), (0o2770, 0o2770), (0o700, 0o700)])
def test_the_first_versions_have_a_lock_too(tmp_path: Path, root: int, made: int) -> None:
    """Before anything was pushed, in the folder that the lock makes: two at once, in turn."""
    tmp_path.chmod(root)
    base, seen = tmp_path / "serving", []
    before = os.umask(0o077)

    def work() -> None:
        with serving_lock(str(base)):
            seen.append("begin")
            time.sleep(0.2)
            seen.append("end")

    try:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        os.umask(before)
    assert seen == ["begin", "end"] * 2
    assert base.stat().st_mode & 0o7777 == made


def test_the_longer_name_of_a_killed_holder_does_not_stay(path: Path) -> None:
    path.write_text("process 1 on a machine with a long name " * 4)
    with lock(path, "it is in use"):
        assert path.read_text() == locks._ourselves()


def test_a_lock_that_only_its_owner_can_take_names_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS asks for a file that can be written."""

    def refused(*_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refused)
    message = (
        rf"^{path} cannot be locked: it belongs to {path.parent.owner()}, this process may not"
    )
    with pytest.raises(RunError, match=message), lock(path, "it is in use", wait_seconds=5):
        raise AssertionError


def test_since_when_a_lock_is_held_is_told_while_it_is(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    since = held_since(path)
    assert since
    assert 0 <= time.time() - since.timestamp() < 60
    holder.kill()
    holder.wait()
    assert path.read_text().startswith("process "), "what a killed holder leaves"
    assert held_since(path) is None


def test_a_lock_that_nobody_holds_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes it just then would be refused."""
    assert held_since(path) is None
    with lock(path, "the test holds it"):
        pass
    monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("it was taken"))
    assert held_since(path) is None
