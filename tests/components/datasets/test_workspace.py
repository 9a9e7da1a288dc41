"""The lock of a data set, and what a process that dies leaves behind in its root."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.datasets import workspace
from components.datasets.workspace import exclusive
from foundation.errors import RunError

HOLD = """
import pathlib, sys, time
from components.datasets.workspace import exclusive

with exclusive(pathlib.Path(sys.argv[1]), "mnist/config"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_waiting_for_another_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "SECONDS_TO_WAIT", 0.2)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        message = (
            rf"^another process prepares mnist/config in {tmp_path} \(process {holder.pid} on "
            rf"{socket.gethostname()} since .*\), for which .*; end that process if it hangs, or"
        )
        with pytest.raises(RunError, match=message), exclusive(tmp_path, "mnist/config"):
            raise AssertionError
        with exclusive(tmp_path, "mnist/other"):
            pass
        holder.kill()
    with exclusive(tmp_path, "mnist/config"):
        pass
