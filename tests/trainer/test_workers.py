"""Several workers as processes: one that hangs, and a signal to all of them. Stand-ins train."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import trainer.workers
from foundation.errors import RunError
from foundation.stopping import Stopped
from trainer.workers import launch_workers

STAND_INS = """
import json, logging, os, signal, time

def index():
    return json.loads(os.environ["TF_CONFIG"])["task"]["index"]

def hang(fn_args):
    logging.getLogger("gauntlet.trainer").info("training", extra={"progress": (7, 9)})
    if index() == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)

def be_stopped(fn_args):
    if index() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


def test_a_stopped_worker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall is not a death: no process ends, and none says anything."""
    monkeypatch.setattr(trainer.workers, "SECONDS_WITHOUT_A_WORD", 3.0)
    message = (
        r"^nothing goes on since 3 s; worker 1 of 2 said last: training \(7 of 9\); worker 2 of 2 "
        r"is stopped, and said last: training \(7 of 9\); the same command goes on from the last "
    )
    with pytest.raises(RunError, match=message):
        launch_workers("stand_ins:hang", SimpleNamespace(), 2)


def test_a_signal_to_a_worker_stops_the_training() -> None:
    with pytest.raises(Stopped) as raised:
        launch_workers("stand_ins:be_stopped", SimpleNamespace(), 2)
    assert raised.value.number == signal.SIGTERM
