"""Signals to a command: all its processes, temporary files and locks go, and it says how to go on.

Stand-ins for a run and for a process below it, through the real supervisor.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundation.locks import lock

COMMAND = """
import sys
from pathlib import Path
from rich.console import Console
from gauntlet.errors import ended
from gauntlet.supervisor import call

place = Path(sys.argv[1])
sys.exit(ended(lambda: call(f"stand_ins:{sys.argv[2]}", place, place / "log", Console())))
"""

STAND_INS = """
import os, subprocess, tempfile, time
from pathlib import Path
from foundation.locks import lock
from foundation.process import Child, leashed

def run(place, below="sleep"):
    tempfile.mkdtemp()
    with lock(place / "lock", "a run is under way"):
        (place / "run.pid").write_text(str(os.getpid()))
        try:
            Child(f"stand_ins:{below}", place, name="the one below").result()
        finally:
            (place / "cleaned").touch()

def hang(place):
    "It does not want to end."
    try:
        run(place)
    finally:
        (place / "hanging").touch()
        time.sleep(600)

def sleep(place):
    Path(tempfile.mkdtemp(), "file").touch()
    program = subprocess.Popen(leashed(["sleep", "600"]))
    while not Path(f"/proc/{program.pid}/cmdline").read_bytes().startswith(b"sleep"):
        time.sleep(0.01)
    (place / "program.pid").write_text(str(program.pid))
    (place / "below.pid").write_text(str(os.getpid()))
    time.sleep(600)
"""

PROCESSES = ("run", "below", "program")


@dataclass
class Command:
    """A command that runs in a process group of its own, with all below it at work."""

    place: Path
    process: subprocess.Popen[str]
    pids: dict[str, int]
    ends: dict[str, int]

    def has_ended(self) -> str:
        """What it says on its standard error, once it and all its processes have gone."""
        _, told = self.process.communicate(timeout=60)
        for name, end in self.ends.items():
            assert select.select([end], [], [], 60)[0], f"{name} is still there"
        assert list((self.place / "tmp").iterdir()) == []
        assert "Traceback" not in (told or "")
        with lock(self.place / "lock", "the lock is still held"):
            return told


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Begins a command."""
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "TMPDIR": str(tmp_path / "tmp"),
        "TERM": "xterm",
    }
    begun: list[Command] = []

    def start(function: str = "run", terminal: int | None = None) -> Command:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(tmp_path), function],
            env=environment, text=True, start_new_session=True,
            stdin=terminal or subprocess.DEVNULL,
            stdout=terminal or subprocess.PIPE, stderr=terminal or subprocess.PIPE,
            preexec_fn=as_from_a_shell,
        )  # fmt: skip
        wait_for(tmp_path / "below.pid")
        pids = {name: int((tmp_path / f"{name}.pid").read_text()) for name in PROCESSES}
        ends = {name: os.pidfd_open(pid) for name, pid in pids.items()}
        begun.append(Command(tmp_path, process, pids, ends))
        return begun[-1]

    yield start
    for command in begun:
        command.process.kill()
        command.process.communicate()
        for end in command.ends.values():
            os.close(end)


def as_from_a_shell() -> None:
    """It heeds interrupts, which a shell has what it starts in the background ignore; a terminal
    is its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and (path.stat().st_size or path.suffix != ".pid")):
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


@pytest.mark.parametrize("whom", ["parent", "group", "child"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(
    begin: Callable[..., Command], number: signal.Signals, whom: str
) -> None:
    command = begin()
    match whom:
        case "parent":
            command.process.send_signal(number)
        case "group":
            os.killpg(command.process.pid, number)
        case "child":
            os.kill(command.pids["run"], number)
    told = command.has_ended()
    what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert f"{what}; run the same command again: finished work is not repeated\n" in told
    assert command.process.returncode == 130
    assert (command.place / "cleaned").exists(), "no time for its clean-up"
    assert "Traceback" not in (command.place / "log").read_text()


def test_a_second_interrupt_ends_what_does_not_want_to(begin: Callable[..., Command]) -> None:
    command = begin("hang")
    command.process.send_signal(signal.SIGINT)
    wait_for(command.place / "hanging")
    command.process.send_signal(signal.SIGTERM)  # `timeout` and systemd send it twice themselves
    time.sleep(0.2)
    assert command.process.poll() is None
    begun = time.monotonic()
    command.process.send_signal(signal.SIGINT)
    assert "interrupted; run the same command again" in command.has_ended()
    assert command.process.returncode == 130
    assert time.monotonic() - begun < 8, "it waited for the clean-up"


def test_a_terminal_that_goes_away(begin: Callable[..., Command]) -> None:
    """The kernel sends SIGHUP, and every write to it fails."""
    ours, theirs = os.openpty()
    command = begin(terminal=theirs)
    os.close(theirs)
    os.close(ours)
    command.has_ended()
    assert command.process.returncode == 130
    assert (command.place / "cleaned").exists()
    assert "Traceback" not in (command.place / "log").read_text()


def test_what_ignores_a_hangup_goes_on(begin: Callable[..., Command]) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = begin()
    finally:
        signal.signal(signal.SIGHUP, before)
    os.killpg(command.process.pid, signal.SIGHUP)
    time.sleep(0.3)
    assert command.process.poll() is None
    command.process.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in command.has_ended()


@pytest.mark.parametrize("whom", ["run", "below"])
def test_a_killed_process_is_told_of(begin: Callable[..., Command], whom: str) -> None:
    command = begin()
    os.kill(command.pids[whom], signal.SIGKILL)
    told = command.has_ended()
    name = {"run": "the process that did the work", "below": "the one below"}[whom]
    assert f"{name} ended with signal 9 (killed, or perhaps out of memory)" in told
    assert command.process.returncode == 1


def test_all_processes_end_with_a_killed_command(begin: Callable[..., Command]) -> None:
    command = begin()
    command.process.kill()
    for name, end in command.ends.items():
        assert select.select([end], [], [], 60)[0], f"{name} is still there"
