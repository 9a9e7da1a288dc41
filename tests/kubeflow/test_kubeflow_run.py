"""A compiled specification of Kubeflow Pipelines, run task by task as Kubeflow does: to a pushed
model that is the local run's to the last digit, from the cache, to a refusal, and after a kill."""

import contextlib
import functools
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rehearsal import (
    BARE,
    LOOKS,
    Local,
    Outcome,
    answers,
    check_same_model,
    command,
    compiled,
    keep_tasks,
    local_run,
    newest_summary,
    shared_folder,
    some_images,
    submitted,
)

from components.versions import read_card

pytestmark = pytest.mark.platforms

UP_TO_TRAINING = {
    "Parameters", "Data", "TfdsExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator",
    "AnomalyGate", "Transform", "Champion", "Trainer-robust",
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """A cluster on this machine, and a local run."""

    local: Local
    root: Path
    volume: Path

    @functools.cached_property
    def file(self) -> Path:
        """The pipeline that most tests submit."""
        return self.compiled("pipeline.yaml")

    @property
    def versions(self) -> list[Path]:
        return sorted((self.volume / "gauntlet" / "serving").glob("[0-9]*"))

    def compiled(self, file: str, *options: str) -> Path:
        """A pipeline for this cluster, beside it."""
        return compiled(
            self.root.parent / file, "--target", "kfp-v2", "--image", "registry/gauntlet:1",
            "--pipeline-root", "minio://bucket/f", "--volume", f"models:{self.volume}",
            "--data-uri", "minio://bucket/mnist", "--data-fingerprint", self.local.fingerprint,
            *options,
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """That of the newest run."""
        return newest_summary(self.root / "minio/bucket/f/artifacts")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("kubeflow")
    local = local_run(shared_folder(tmp_path_factory))
    root, volume = folder / "cluster", folder / "volume"
    volume.mkdir()
    shutil.copytree(local.data, root / "minio" / "bucket" / "mnist")
    return World(local, root, volume)


@pytest.fixture(scope="module")
def killed(world: World) -> set[str]:
    """The tasks that were done when a first submission was killed, in the training."""
    arguments = command("submit", world.file, "--target", "local", "--root", world.root)
    process = subprocess.Popen(
        arguments, env=os.environ | BARE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 900
    checkpoints = world.volume / "gauntlet" / "checkpoints"
    while not any(checkpoints.glob("*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while tasks := living(process.pid):
        assert time.monotonic() < end, f"tasks of the killed submission go on: {tasks}"
        time.sleep(0.2)
    return {log.parent.name for log in world.root.glob("runs/*/*/log.txt")}


def living(group: int) -> list[str]:
    """Processes of a group that have not ended, each with its state and its group."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own = file.read_text().rpartition(")")[2].split()[:3]
            if int(own) == group and state != "Z":
                found.append(f"{file.parent.name} {state}")
    return found


@pytest.fixture(scope="module")
def first(world: World, killed: set[str]) -> Outcome:
    """The submission after the killed one."""
    return submitted(world.file, world.root)


def test_a_killed_run_goes_on(first: Outcome, killed: set[str]) -> None:
    before_training = {"CuratedSchema", "TfdsExampleGen", "StatisticsGen", "Transform"}
    assert before_training <= killed
    assert not before_training & first.ran
    assert first.states["Trainer-robust"] == "finished"


def test_to_the_model_of_a_local_run(first: Outcome, world: World) -> None:
    assert first.code == 0, first.text
    assert not {"failed", "skipped"} & set(first.states.values())
    summary = world.summary()
    (version,) = world.versions
    assert summary["pushed"] == str(version)
    assert summary["refused_by"] == summary["serving_problems"] == []
    assert read_card(str(version)).model.startswith("minio://bucket/f/artifacts/")
    check_same_model(world.local, summary, version)


def test_a_second_submission_computes_what_the_new_champion_changes(
    first: Outcome, world: World
) -> None:
    """And a third nothing at all."""
    again = submitted(world.file, world.root)
    assert again.ran - {"Data"} == LOOKS | {"ChampionChallenge", "Evaluator"}
    gates = zip(world.summary()["gates"], world.local.summary["gates"], strict=True)
    for gate, alone in gates:
        if alone["not_compared"]:
            assert gate["not_compared"] == "the candidate is the model that is served"
        else:
            assert gate == alone
    third = submitted(world.file, world.root)
    assert third.ran - {"Data"} == LOOKS
    assert (again.code, third.code) == (0, 0)
    assert len(world.versions) == 1


def test_a_warm_start_begins_with_what_is_served(first: Outcome, world: World) -> None:
    """At such a rate the new model stays what it began as."""
    file = world.compiled(
        "warm.yaml", "--set", "trainer.warm_start=true", "--set", "trainer.learning_rate=1e-9"
    )
    keep_tasks(file, UP_TO_TRAINING)
    warm = submitted(file, world.root)
    assert warm.code == 0, warm.text
    assert warm.ran - {"Data"} == {"Parameters", "Champion", "Trainer-robust"}
    exported = world.root.glob("minio/bucket/f/artifacts/*/Trainer-robust/model/Format-Serving")
    newest = max(exported, key=lambda path: path.stat().st_mtime)
    images = np.array(some_images())
    (version,) = world.versions
    served, new = answers(str(version), images), answers(str(newest), images)
    np.testing.assert_allclose(new["probabilities"], served["probabilities"], atol=1e-3)


def test_a_fragile_model_is_refused_by_a_bound_of_this_run(first: Outcome, world: World) -> None:
    refused = submitted(world.file, world.root, "--param", "gates.worst_case=0.9")
    assert refused.code == 3, refused.text
    assert refused.states["Verdict"] == "failed"
    assert not refused.ran & {"TfdsExampleGen", "Trainer-robust", "AdversarialExampleGen"}
    assert world.summary()["pushed"] is None
    assert world.summary()["refused_by"] == ["worst_case"]
    assert len(world.versions) == 1


def test_a_wrong_value_ends_before_anything_is_computed(world: World) -> None:
    refused = submitted(world.file, world.root, "--param", "threat.epsilon=-1")
    assert refused.code == 2
    assert not refused.states
    assert "epsilon" in refused.text


def test_a_run_for_another_purpose_ends_before_training(first: Outcome, world: World) -> None:
    refused = submitted(world.file, world.root, "--param", "threat.epsilon=0.05")
    assert refused.code == 2, refused.text
    assert refused.states["Champion"] == "failed"
    assert not refused.ran & {"Trainer-undefended", "Trainer-robust", "AdversarialExampleGen"}
    assert len(world.versions) == 1


def test_data_that_is_not_what_was_compiled_for_is_refused(first: Outcome, world: World) -> None:
    """The task that reads it fails; those that need it are skipped, the others are not."""
    other = world.root / "minio" / "bucket" / "other"
    shutil.copytree(world.local.data, other)
    (shard, *_) = other.glob("*test*tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-20])
    failed = submitted(world.file, world.root, "--param", "data_uri=minio://bucket/other")
    assert failed.code == 1
    assert failed.states["TfdsExampleGen"] == "failed"
    assert failed.states["CuratedSchema"] == "cached"
    assert failed.states["Champion"] == "finished"
    assert "Trainer-robust" not in failed.ran or failed.states["Trainer-robust"] == "skipped"
    log = max(world.root.glob("runs/*/TfdsExampleGen/log.txt"), key=lambda p: p.stat().st_mtime)
    assert log.read_text().splitlines()[-1].startswith("gauntlet: ")
    assert "is damaged" in log.read_text().splitlines()[-1]
