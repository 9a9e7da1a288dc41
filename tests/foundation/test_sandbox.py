"""A confined process writes only where it may, reaches no network, and cannot lead its parent."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confined
import pytest

from foundation import sandbox
from foundation.errors import RunError
from foundation.process import Child
from foundation.sandbox import NOT_HERE, SHUT_OFF, Confinement, Kernel, Sandbox, confine, values_in
from robustness.config import Norm


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Any]:
    """Calls a function of `confined` in a process that may write below `mine`."""
    support = Path(confined.__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{support}:{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/kept").write_text("kept")

    def asked(function: str, argument: Any = None) -> Any:
        place = Sandbox((tmp_path / "mine",))
        with (tmp_path / "log").open("a") as log:
            return Child(f"confined:{function}", argument, output=log, sandbox=place).result()

    return asked


@pytest.fixture
def here(ask: Callable[[str, Any], Any]) -> Confinement:
    """What this kernel confines to; where it cannot, there is nothing to test."""
    told: Confinement = ask("told", None)
    if str(told).count(NOT_HERE):
        pytest.skip(str(told))
    return told


def test_nothing_outside_is_written_and_nobody_is_reached(
    tmp_path: Path, ask: Callable[[str, Any], Any], here: Confinement
) -> None:
    answers = ask("attempts", tmp_path / "theirs")
    assert set(answers.values()) == {"refused"}, answers
    assert [file.name for file in (tmp_path / "theirs").iterdir()] == ["kept"]
    assert (tmp_path / "theirs/kept").read_text() == "kept"
    mine = os.path.realpath(tmp_path / "mine")
    assert here == Confinement(
        network=SHUT_OFF,
        files=f"written only below {mine} and a folder of its own for temporary files",
    )


def test_its_own_folder_is_written(tmp_path: Path, ask: Callable[[str, Any], Any]) -> None:
    assert ask("write", tmp_path / "mine/file") == "mine"


def test_the_attempts_succeed_where_nothing_is_confined(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    kept = confined.attempts(tmp_path)
    assert kept["write"] == kept["append"] == kept["internet"] == kept["signal"] == "done"


def test_a_report_makes_its_parent_run_nothing(
    tmp_path: Path, ask: Callable[[str, Any], Any]
) -> None:
    with pytest.raises(RunError, match=r"sent posix\.system"):
        ask("trap", tmp_path / "trapped")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", ["foundation.whole write_whole", "foundation.process Child"])
def test_what_acts_is_not_made_of_a_report(name: str) -> None:
    with pytest.raises(Exception, match="sent foundation"):
        values_in(b"c" + name.replace(" ", "\n").encode() + b"\n.")


def test_a_member_of_an_enum_comes_in_either_form_and_no_other_attribute_does() -> None:
    def sent(what: object, name: str) -> bytes:
        class Sent:
            def __reduce__(self) -> Any:
                return getattr, (what, name)

        return pickle.dumps(Sent())

    assert values_in(sent(Norm, "L2")) is Norm.L2
    for what, name in ((Norm, "__init__"), (Norm.L2, "value"), (Confinement, "__init__")):
        with pytest.raises(pickle.UnpicklingError):
            values_in(sent(what, name))


def test_what_the_kernel_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "_call", lambda *_: unknown())
    monkeypatch.setattr(Kernel, "_prctl", lambda *_: unknown())
    monkeypatch.setattr(Kernel, "gain_nothing", lambda _: None)
    assert confine("/nowhere") == Confinement(
        network="not possible here: seccomp: Function not implemented",
        files="not possible here: Landlock: Function not implemented",
    )


def unknown() -> int:
    raise OSError(38, os.strerror(38))


def test_an_old_kernel_and_another_system_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "gain_nothing", lambda _: None)
    monkeypatch.setattr(Kernel, "filter_calls", lambda _: None)
    monkeypatch.setattr(Kernel, "restrict_files", lambda *_: None)
    monkeypatch.setattr(Kernel, "landlock_version", lambda _: 2)
    assert confine("/a").files.endswith("; others can be emptied, as the kernel is old")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "darwin has no Landlock" in sandbox.confine("/a").network
