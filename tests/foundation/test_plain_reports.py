"""A child that has run what others wrote cannot have us run anything."""

import logging
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import DataError, ProcessDied
from foundation.plain_reports import plain_report
from foundation.process import Child, Ending

TASKS = """
import logging, os
from foundation.errors import DataError

class Trap:
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (self.path, "w")

def trap(path):
    return {"numbers": [1, 2.5], "inside": Trap(path)}

def plain(fails):
    logging.getLogger("gauntlet.test").info("working", extra={"advance": 5})
    if fails:
        raise DataError("the data")
    return {"numbers": [1, 2.5, None], "bytes": b"1", "text": ("a", True)}
"""


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


def test_nothing_that_a_child_sends_is_called(tmp_path: Path) -> None:
    file = tmp_path / "written"
    with pytest.raises(ProcessDied, match=r"it sent what is no report: _?io\.open"):
        Child("tasks:trap", str(file), read=plain_report).result(60)
    assert not file.exists()


def test_plain_results_errors_and_records_come_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gauntlet.test")
    result = Child("tasks:plain", False, read=plain_report).result(60)
    assert result == {"numbers": [1, 2.5, None], "bytes": b"1", "text": ("a", True)}
    assert [record.getMessage() for record in caplog.records] == ["working"]
    with pytest.raises(DataError, match=r"^the data$"):
        Child("tasks:plain", True, read=plain_report).result(60)


class Calls:
    """Unpickled, it would be whatever this gives."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"no pickle",
        pickle.dumps(1),
        pickle.dumps(Ending(result=Path("a"))),
        pickle.dumps(Ending(result=np.zeros(2))),
        pickle.dumps(Ending(result=Calls(eval, ("1",)))),
        pickle.dumps(Ending(error="no error")),  # type: ignore[arg-type]
        pickle.dumps(Ending(result=Calls(Child, ("os:getcwd",)))),
        b"\x80\x04\x8c\x11foundation.errors\x8c\x08ClassVar\x93.",
        b"\x80\x04\x8c\x11foundation.errors\x8c\x16GauntletError.__init__\x93.",
        pickle.dumps(Ending(result=1))[:-5],
    ],
    ids=range(11),
)
def test_what_is_no_report_is_an_error(sent: bytes) -> None:
    with pytest.raises(ProcessDied, match="it sent what is no report"):
        plain_report(sent)
