"""What ends a run on this machine before anything is fetched or computed."""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foundation.errors import RunError
from pipeline.definition.presets import preset
from pipeline.local import job
from pipeline.local.job import Job, run_job
from pipeline.local.orchestrator import Orchestrator
from pipeline.root.root import Root


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A run that may not come as far as its data."""
    monkeypatch.setattr(job, "prepare", lambda *_: pytest.fail("data was prepared"))
    return Job(
        config=preset("smoke"),
        root=Root(tmp_path),
        run_id="r",
        data_dir=None,
        orchestrator=Orchestrator.LOCAL,
    )


def test_versions_that_cannot_be_locked(task: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock

    def none_in_serving(descriptor: int, how: int) -> None:
        if "/serving/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", none_in_serving)
    with pytest.raises(RunError, match=r"serving/\.lock cannot be locked"):
        run_job(task)


def test_a_disk_with_less_than_the_settings_ask_for(
    task: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: Any = SimpleNamespace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(RunError, match=r"the run needs up to .* 1 MB free; nothing was trained"):
        run_job(task)
