"""Locks: who holds one is named, waiting ends, and whoever has died holds none."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foundation.errors import RunError
from foundation.lock import LOCK, locked, serving_lock

HOLD = """
import sys
from pathlib import Path
from foundation.lock import locked
with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    input()
"""


def test_the_lock_of_a_process_that_was_killed_is_none(tmp_path: Path) -> None:
    file = tmp_path / LOCK
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        message = rf"^busy \(held by process {holder.pid} on \S+ since \S+\)$"
        with pytest.raises(RunError, match=message), locked(file, "busy"):
            pytest.fail("locked twice")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(file, "busy"):
        pass


def test_waiting_is_said_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file, begin = tmp_path / LOCK, time.monotonic()
    with locked(file, ""), pytest.raises(RunError, match="busy"), locked(file, "busy", 2.5):
        pytest.fail("locked twice")
    assert 2.5 <= time.monotonic() - begin < 10
    (record,) = caplog.records
    assert "waiting: busy (held by process" in record.getMessage()


def test_who_waits_gets_it(tmp_path: Path) -> None:
    file, order = tmp_path / LOCK, []

    def second() -> None:
        with locked(file, "busy", 30):
            order.append("second")

    with locked(file, "busy"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(RunError, match="has no locks"), locked(tmp_path / LOCK, "busy"):
        pytest.fail("nobody can hold it")


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
    code = HOLD.replace("with locked", "import os\nos.setuid(12345)\nwith locked")
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], input="\n", capture_output=True, text=True,
        check=False, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr


def test_in_a_folder_of_a_group_its_members_may_sign_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o077)
    try:
        with locked(tmp_path / LOCK, "busy"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o660


def test_who_has_the_versions_has_them_within(tmp_path: Path) -> None:
    with serving_lock(str(tmp_path)), serving_lock(str(tmp_path)):
        pass
    with serving_lock(str(tmp_path / "nothing pushed yet")), serving_lock("gs://bucket/serving"):
        pass
