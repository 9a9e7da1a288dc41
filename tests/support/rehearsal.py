"""Whole compiled pipelines on this machine: what a test compiles, submits and reads afterwards."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

TIMEOUT = 1500

BARE = {"HOME": "/nonexistent"}
"""Environment of a container that has no home."""


def command(*arguments: str | Path) -> list[str]:
    """A command line of ours."""
    return [str(Path(sys.executable).parent / "gauntlet"), *map(str, arguments)]


def gauntlet(*arguments: str | Path, before: tuple[str, ...] = ()) -> Any:
    """Run a command of ours; before: words of another program that runs it."""
    return subprocess.run(
        [*before, *command(*arguments)], capture_output=True, text=True, timeout=TIMEOUT,
        env=os.environ | (BARE if arguments[0] == "submit" else {}), check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Local:
    """A run of `gauntlet run`: its summary, and the folder of the prepared data."""

    summary: dict[str, Any]
    data: Path
    fingerprint: str


def local_run(shared: Path) -> Local:
    """The run that a platform's is compared with; the first of several test processes makes it.

    shared: folder of all of them.
    """
    folder = shared / "local"
    summary, prepared = folder / "summary.json", folder / "prepared.json"
    with FileLock(shared / "local.lock"):
        if not summary.exists():
            folder.mkdir(exist_ok=True)
            for arguments in (
                ("prepare", "--dataset", "mnist", "--json", prepared),
                ("run", "--preset", "smoke", "--root", folder / "root", "--json", summary),
            ):
                done = gauntlet(*arguments)
                assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(prepared.read_text())["prepared"]
    return Local(json.loads(summary.read_text()), Path(found["directory"]), found["fingerprint"])


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def compiled(output: Path, *options: str | Path) -> Path:
    """The preset `smoke`, compiled."""
    done = gauntlet("compile", "--preset", "smoke", "--output", output, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def keep_tasks(file: Path, names: set[str]) -> None:
    """Leave all other tasks out of a pipeline of Kubeflow that was compiled."""
    spec, more = yaml.safe_load_all(file.read_text())
    tasks = spec["root"]["dag"]["tasks"]
    spec["root"]["dag"]["tasks"] = {name: tasks[name] for name in names}
    file.write_text(yaml.safe_dump_all([spec, more]))


@dataclass(frozen=True)
class Outcome:
    """A run on a platform: exit code, what was printed, and the state of each task."""

    code: int
    text: str
    states: dict[str, str]

    @property
    def ran(self) -> set[str]:
        """The tasks that did not come from the cache."""
        return {task for task, state in self.states.items() if state != "cached"}


def submitted(file: Path, root: Path, *options: str, before: tuple[str, ...] = ()) -> Outcome:
    """Submit to this machine and wait."""
    done = gauntlet("submit", file, "--target", "local", "--root", root, *options, before=before)
    words = [line.split() for line in done.stdout.splitlines()]
    known = ("finished", "cached", "failed", "skipped")
    states = {word[0]: word[1] for word in words if len(word) > 1 and word[1] in known}
    return Outcome(done.returncode, done.stdout + done.stderr, states)


LOOKS = {"Champion", "Pusher", "Summary", "Verdict"}
"""Tasks that run every time: those that look at what is served, and readers of their answer."""


def newest_summary(artifacts: Path) -> dict[str, Any]:
    """What the task Summary of the newest run wrote. artifacts: folder of all runs."""
    found = artifacts.glob("*/Summary/summary/summary.json")
    return dict(json.loads(max(found, key=lambda path: path.stat().st_mtime).read_text()))


def check_same_model(local: Local, summary: dict[str, Any], version: Path) -> None:
    """A run on a platform judged and pushed what the local one did, to the last digit."""
    assert summary["gates"] == local.summary["gates"]
    images = np.array(some_images())
    here, there = answers(local.summary["pushed"], images), answers(str(version), images)
    assert here.keys() == there.keys()
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def answers(version: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """What a pushed model says of PNG images."""
    import tensorflow as tf

    signature = tf.saved_model.load(version).signatures["serving_default"]
    return {name: value.numpy() for name, value in signature(image=tf.constant(images)).items()}


def some_images() -> list[bytes]:
    """PNG images of the test split."""
    import tensorflow_datasets as tfds

    raw = {"image": tfds.decode.SkipDecoding()}
    rows = tfds.as_numpy(tfds.load("mnist", split="test[:200]", decoders=raw))
    return [row["image"] for row in rows]
