"""A function in a fresh interpreter: what comes back, and how either side ends."""

import ast
import logging
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from foundation import process
from foundation.child import described
from foundation.errors import ConfigError, DataError, Defect, GauntletError, ProcessDied
from foundation.events import fields_of
from foundation.process import Child, follow, leashed
from foundation.stopping import Stopped

TASKS = """
import ctypes, logging, os, signal, sys, threading, time
from foundation.errors import ConfigError, DataError

log = logging.getLogger("gauntlet.test")

def fail(kind):
    match kind:
        case "config": raise ConfigError("the setting")
        case "data": raise DataError("two\\nlines")
        case "defect": raise ValueError("first line\\nwhat really happened")
        case "unpicklable": return threading.Lock()
        case "killed": os.kill(os.getpid(), 9)
        case "silent": os._exit(3)

def report():
    log.info("attacking %s images", 5, extra={"advance": 5})
    log.info("training", extra={"progress": (1, 2)})
    log.debug("a detail")
    log.info("odd", extra={"lock": threading.Lock()})
    print("printed")
    logging.getLogger("other").warning("of another library")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("it happened")

def talk():
    def go_on():
        while True:
            log.info("still here " * 1000)
    threading.Thread(target=go_on, daemon=True).start()
    return "done"

def linger():
    threading.Thread(target=time.sleep, args=(60,)).start()
    return os.getpid()

def sleep(without_the_kernel):
    if without_the_kernel:
        ctypes.CDLL(None).prctl(1, 0)
    print(os.getpid(), flush=True)
    time.sleep(60)

def torn(count):
    "Killed when only the first bytes of a report were sent."
    import logging, pickle
    (handler,) = logging.getLogger("gauntlet").handlers
    report = pickle.dumps(logging.makeLogRecord({"msg": "x" * 100_000}))
    whole = len(report).to_bytes(4, "big") + report
    os.write(handler._parent.fileno(), whole[:count])
    os.kill(os.getpid(), 9)

def leave_one_behind():
    "Killed, while a process of its own holds its connection open."
    if pid := os.fork():
        print(pid, flush=True)
        os.kill(os.getpid(), 9)
    time.sleep(600)

def suspend_itself(other):
    log.info("training", extra={"progress": (3, 10)})
    if other:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)

def refuse():
    "To stop."
    begun = False
    while True:
        try:
            if not begun:
                begun = True
                log.info("begun")
            time.sleep(600)
        except BaseException:
            pass

def swallow():
    "A library that makes an error of its own of whatever is raised in it."
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    except BaseException:
        raise ValueError("in a library")

def talk_and_stop():
    "Signals at any moment of many reports."
    def interrupt():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=interrupt).start()
    while True:
        log.info("x" * 100_000)

def temporary():
    import tempfile
    tempfile.mkdtemp()
    return tempfile.mkstemp()[1]

def surroundings():
    return os.environ["GAUNTLET_TEST"], sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions above, where a child finds them."""
    (tmp_path / "tasks.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


@pytest.fixture
def output(tmp_path: Path) -> Iterator[IO[str]]:
    with open(tmp_path / "output", "w+") as file:
        yield file


def test_arguments_and_result_are_themselves() -> None:
    assert Child("operator:add", Fraction(1, 3), Fraction(1, 2)).result() == Fraction(5, 6)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("config", ConfigError, "the setting"),
        ("data", DataError, "two\nlines"),
        ("defect", Defect, "ValueError: what really happened"),
        ("unpicklable", Defect, "TypeError: cannot pickle '_thread.lock' object"),
        ("killed", ProcessDied, "TFDS ended with signal 9 (killed, or perhaps out of memory)"),
        ("silent", ProcessDied, "TFDS ended with code 3"),
    ],
)
def test_what_went_wrong_comes_back(
    output: IO[str], kind: str, error: type[GauntletError], message: str
) -> None:
    with pytest.raises(GauntletError) as raised:
        Child("tasks:fail", kind, name="TFDS", output=output).result()
    assert (type(raised.value), str(raised.value)) == (error, message)
    output.seek(0)
    told_by_the_parent_only = error is ProcessDied
    assert ("Traceback" in output.read()) is not told_by_the_parent_only


def test_unexpected_errors_are_described_by_their_last_line() -> None:
    assert described(
        RuntimeError("Traceback\n  File x\nValueError: deep [while running 'Attack']\n")
    ) == ("RuntimeError: ValueError: deep [while running 'Attack']")
    assert described(KeyError()) == "KeyError: no message"


def test_log_records_are_replayed_and_the_output_holds_the_rest(
    output: IO[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet")
    Child("tasks:report", output=output).result()
    told = [(record.name, fields_of(record)) for record in caplog.records]
    assert told == [
        ("gauntlet.test", {"advance": 5}),
        ("gauntlet.test", {"progress": (1, 2)}),
        ("gauntlet.test", {}),
    ]
    assert caplog.messages[0] == "attacking 5 images"
    assert "ZeroDivisionError" in caplog.messages[2]
    output.seek(0)
    written = output.read()
    for part in (
        "INFO gauntlet.test: attacking 5",
        "printed\n",
        "WARNING other: of another library",
        "it happened",
    ):
        assert part in written
    assert "training" not in written, "many records a second that only move a bar"


def test_where_the_output_is_ours_the_replay_is_enough(capfd: pytest.CaptureFixture[str]) -> None:
    records: list[logging.LogRecord] = []
    Child("tasks:report", on_record=records.append).result()
    assert [record.getMessage() for record in records[:2]] == ["attacking 5 images", "training"]
    shown = capfd.readouterr()
    assert shown.out == "printed\n"
    assert "of another library" in shown.err
    assert "attacking" not in shown.err


def test_a_level_that_hides_records_hides_those_of_children(
    caplog: pytest.LogCaptureFixture, output: IO[str]
) -> None:
    caplog.set_level(logging.WARNING, logger="gauntlet")
    caplog.handler.setLevel(logging.DEBUG)  # it takes whatever it is given
    Child("tasks:report", output=output).result()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_an_answer_that_does_not_come_in_time() -> None:
    child = Child("time:sleep", 60, name="it")
    with pytest.raises(ProcessDied, match=r"^it did not answer within 0\.5 seconds$"):
        child.result(seconds=0.5)
    assert child.process.poll() == -signal.SIGKILL


def test_nobody_hears_what_is_said_after_the_ending(output: IO[str]) -> None:
    """A thread that goes on must not fill the pipe and block the end."""
    begin = time.monotonic()
    assert Child("tasks:talk", output=output).result() == "done"
    assert time.monotonic() - begin < process.SECONDS_TO_END


def test_a_child_that_does_not_end_after_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS_TO_END", 0.2)
    child = Child("tasks:linger")
    assert child.result() == child.process.pid
    assert child.process.returncode == -signal.SIGKILL


def test_children_that_run_at_once_are_told_of_as_they_end() -> None:
    with Child("time:sleep", 60) as slow, Child("math:sqrt", 4) as quick:
        child, ending = next(follow([slow, quick]))
        assert (child, ending.result) == (quick, 2)
    assert slow.process.poll() == -signal.SIGKILL, "left without an ending"


def test_surroundings_of_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never waits for a keyboard, and packages in the user's folder do not win over ours."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    for package in ("foundation", "trainer"):
        (tmp_path / "here" / package).mkdir(parents=True)
        (tmp_path / "here" / package / "__init__.py").write_text("raise AssertionError('foreign')")
    monkeypatch.chdir(tmp_path / "here")
    environment = {"GAUNTLET_TEST": "changed"}
    assert Child("tasks:surroundings", environment=environment).result() == ("changed", "")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("without_the_kernel", [False, True], ids=["prctl", "connection"])
def test_a_child_ends_with_its_parent(without_the_kernel: bool, end: signal.Signals) -> None:
    code = (  # a shell has what it starts in the background ignore interrupts
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from foundation.process import Child; Child('tasks:sleep', {without_the_kernel}).result()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.send_signal(end)
    parent.wait(20)
    assert select.select([child], [], [], 20)[0], "still there"
    os.close(child)


def test_a_child_killed_in_the_middle_of_a_report(output: IO[str]) -> None:
    """At any byte: in its length, at its border, in the report itself."""
    counts = (1, 3, 4, 5, 1000, 70_000)
    children = [Child("tasks:torn", count, name=str(count), output=output) for count in counts]
    for child, count in zip(children, counts, strict=True):
        with pytest.raises(ProcessDied, match=f"^{count} ended with signal 9 .killed, or perhaps"):
            child.result()


def test_a_child_whose_own_process_outlives_it(output: IO[str]) -> None:
    with pytest.raises(ProcessDied, match="ended with signal 9"):
        Child("tasks:leave_one_behind", output=output).result()
    output.seek(0)
    os.kill(int(output.read()), signal.SIGKILL)


def test_children_of_which_none_goes_on() -> None:
    """One is suspended, the other waits for it; neither has died."""
    with (
        Child("tasks:suspend_itself", False, name="worker 1") as one,
        Child("tasks:suspend_itself", True, name="worker 2") as two,
    ):
        one.receive()
        two.receive()
        with pytest.raises(ProcessDied) as raised:
            list(follow([one, two], silence=0.5))
    assert str(raised.value) == (
        "nothing goes on since 0.5 s; worker 1 said last: training (3 of 10); worker 2 is stopped, "
        "and said last: training (3 of 10)"
    )
    assert {one.process.poll(), two.process.poll()} == {-signal.SIGKILL}


def test_our_own_suspension_is_no_silence_of_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS_BETWEEN_LOOKS", 0.05)
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Child("time:sleep", 0.3) as child:
        ((_, ending),) = follow([child], silence=60)
    assert ending.error is None


def test_a_child_that_a_signal_stops(output: IO[str]) -> None:
    """Also where a library makes another error of it, or it is in the middle of a report."""
    for task in ("swallow", "talk_and_stop"):
        child = Child(f"tasks:{task}", output=output, on_record=lambda record: time.sleep(0.05))
        with pytest.raises(Stopped, match="stopped by SIGTERM"):
            child.result()
        assert child.process.returncode == 1
    output.seek(0)
    assert "Traceback" not in output.read()


def test_a_child_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a person is told what we wait for."""
    monkeypatch.setattr(process, "SECONDS_TO_STOP", 0.5)
    monkeypatch.setattr(process, "SECONDS_BEFORE_TELLING", 0.1)
    records: list[logging.LogRecord] = []
    child = Child("tasks:refuse", on_record=records.append)
    child.receive()
    with pytest.raises(Stopped), child:
        raise Stopped(signal.SIGTERM)
    assert child.process.returncode == -signal.SIGKILL
    assert [record.getMessage() for record in records] == [
        "begun",
        "stopping; Ctrl-C again ends it at once",
    ]


def test_temporary_files_go_with_the_child(output: IO[str]) -> None:
    file = Path(Child("tasks:temporary", output=output).result())
    assert file.parent.name.startswith("gauntlet-")
    assert not file.parent.exists()


def test_a_parent_that_has_died_before_the_leash_was_on(tmp_path: Path) -> None:
    """What it started must not begin: nobody would end it."""
    begun = tmp_path / "begun"
    command = leashed(["touch", str(begun)])
    command[command.index(str(os.getpid()))] = str(os.getppid())
    assert subprocess.run(command, check=False).returncode == 1
    assert not begun.exists()


def test_a_program_on_the_leash_is_itself() -> None:
    """Same arguments, input and exit code; and signals mean what they mean to programs."""
    script = 'read line; echo "$0 $1 $line"; trap | wc -l; exit 7'
    done = subprocess.run(
        leashed(["sh", "-c", script, "a b", "c"]), input="d\n", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, "a b c d\n0\n")
    broken = subprocess.run(
        leashed(["bash", "-c", "set -o pipefail; yes | true"]), capture_output=True, check=False
    )
    assert broken.returncode == 128 + signal.SIGPIPE
    missing = subprocess.run(leashed(["no-such"]), capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (
        1,
        "no-such cannot be run: No such file or directory\n",
    )


def test_every_program_that_we_start_is_on_the_leash() -> None:
    """Except what removes a container of ours that would go on."""
    root = Path(process.__file__).parents[1]
    packages = (
        "foundation",
        "robustness",
        "trainer",
        "components",
        "pipeline",
        "kubeflow",
        "gauntlet",
    )
    files = [file for package in packages for file in (root / package).rglob("*.py")]
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
    ]
    starts = re.compile(r"subprocess\.(run|Popen|call|check_\w+)|os\.(system|popen|spawn\w+)")
    started = [ast.unparse(c.args[0]) for c in calls if starts.fullmatch(ast.unparse(c.func))]
    assert len(started) >= 9
    others = [command for command in started if not command.startswith("leashed(")]
    assert others == ["['docker', 'rm', '--force', name]"]
