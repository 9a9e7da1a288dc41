"""Trainers with our executors: what begins with the champion, and what Vertex AI is asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud import aiplatform_v1 as aiplatform
from small_world import artifact, training_task
from tfx.extensions.google_cloud_ai_platform import training_clients
from tfx.types.standard_artifacts import Examples, Model, ModelRun, TransformGraph

from components.trainer import BEGIN, JOB, JobExecutor, TrainerExecutor
from foundation.errors import RunError

SPEC = {"worker_pool_specs": [{"replica_count": 1, "container_spec": {"image_uri": "i"}}]}


def inputs(small_world: SimpleNamespace) -> dict[str, Any]:
    names = '["train","validation"]'
    return {
        "examples": [artifact(Examples, small_world.examples, split_names=names)],
        "transform_graph": [artifact(TransformGraph, small_world.transform)],
    }


def outputs(folder: Path) -> dict[str, Any]:
    return {
        "model": [artifact(Model, str(folder / "model"))],
        "model_run": [artifact(ModelRun, str(folder / "model_run"))],
    }


def properties(folder: Path, **more: str) -> dict[str, Any]:
    task = training_task("undefended", epochs=1) | {"checkpoints": str(folder / "checkpoints")}
    return {
        "run_fn": "trainer.train.run_fn",
        "custom_config": json.dumps(task),
        "train_args": json.dumps({"splits": ["train"]}),
        "eval_args": json.dumps({"splits": ["validation"]}),
        **more,
    }


@pytest.mark.parametrize(("begin", "expected"), [("a/version", "a/version"), ("", None)])
def test_a_training_begins_with_the_champion(
    small_world: SimpleNamespace, tmp_path: Path, begin: str, expected: str | None
) -> None:
    executor = TrainerExecutor()
    given = properties(tmp_path, **{BEGIN: begin})
    arguments = executor._GetFnArgs(inputs(small_world), outputs(tmp_path), given)
    assert arguments.base_model == expected


class Vertex:
    """Google's client of training jobs, which keeps what it was asked for. states: answers to
    `get_custom_job`, one after the other, None for a lost connection. jobs: all of the project."""

    def __init__(self, *states: aiplatform.JobState | None) -> None:
        self.asked: list[Any] = []
        self.jobs: list[aiplatform.CustomJob] = []
        self._states = list(states)

    def list_custom_jobs(self, request: dict[str, str]) -> list[aiplatform.CustomJob]:
        assert request["parent"] == "projects/p/locations/r"
        label, equals, value = request["filter"].removeprefix("labels.").partition("=")
        assert equals
        return [job for job in self.jobs if job.labels.get(label) == value]

    def create_custom_job(self, parent: str, custom_job: Any) -> Any:
        name = "projects/p/locations/r/customJobs/1"
        job = aiplatform.CustomJob(custom_job, name=name)
        self.asked.append((parent, job))
        self.jobs.append(job)
        return SimpleNamespace(name=name)

    def get_custom_job(self, name: str, retry: Any) -> Any:
        state = self._states.pop(0)
        if state is None:
            raise ConnectionError("no route")
        return aiplatform.CustomJob(name=name, state=state)


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a client in the place of Google's."""

    def place(*states: aiplatform.JobState | None) -> Vertex:
        client = Vertex(*states)

        def create(self: Any) -> None:
            self._client = client

        monkeypatch.setattr(training_clients.VertexJobClient, "create_client", create)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        return client

    return place


def run_job(small_world: SimpleNamespace, folder: Path) -> None:
    job = json.dumps({"project": "p", "region": "r", "job_spec": SPEC})
    given = properties(folder, **{JOB: job, BEGIN: ""})
    JobExecutor().Do(inputs(small_world), outputs(folder), given)


def test_a_training_job_trains_the_model(
    small_world: SimpleNamespace, tmp_path: Path, vertex: Any
) -> None:
    """What Vertex AI is asked to run is run here: it leaves the model where the node wants it."""
    state = aiplatform.JobState
    client = vertex(state.JOB_STATE_PENDING, state.JOB_STATE_RUNNING, state.JOB_STATE_SUCCEEDED)
    run_job(small_world, tmp_path)
    ((parent, job),) = client.asked
    assert parent == "projects/p/locations/r"
    (pool,) = job.job_spec.worker_pool_specs
    assert (pool.replica_count, pool.container_spec.image_uri) == (1, "i")
    command = list(pool.container_spec.command)
    assert command[0] == "python"
    done = subprocess.run(
        [sys.executable, *command[1:]],
        env=os.environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "Format-Serving" / "saved_model.pb").is_file()


@pytest.mark.parametrize("end", ["FAILED", "CANCELLED", "EXPIRED"])
def test_a_training_job_that_fails_is_one_line(
    small_world: SimpleNamespace, tmp_path: Path, vertex: Any, end: str
) -> None:
    vertex(None, aiplatform.JobState[f"JOB_STATE_{end}"])
    message = rf"^the training job of Vertex AI failed: .*customJobs/1 ended as JOB_STATE_{end}$"
    with pytest.raises(RunError, match=message):
        run_job(small_world, tmp_path)


def test_a_training_job_of_which_nothing_is_heard_may_go_on(
    small_world: SimpleNamespace, tmp_path: Path, vertex: Any
) -> None:
    vertex(*10 * [None])
    with pytest.raises(RunError, match=r"^Vertex AI cannot be asked about .*/1, which may go on"):
        run_job(small_world, tmp_path)


@pytest.mark.parametrize(
    ("state", "stops"), [("RUNNING", True), ("QUEUED", True), ("FAILED", False)]
)
def test_no_second_job_joins_one_of_the_same_training(
    small_world: SimpleNamespace, tmp_path: Path, vertex: Any, state: str, stops: bool
) -> None:
    """Where a task was killed its job goes on; and one of another training disturbs nobody."""
    client = vertex(*2 * [aiplatform.JobState.JOB_STATE_SUCCEEDED])
    run_job(small_world, tmp_path)
    own, foreign = client.jobs[0], aiplatform.CustomJob(labels={"gauntlet_training": "another"})
    own.state = f"JOB_STATE_{state}"
    client.jobs = [foreign, own]
    if not stops:
        run_job(small_world, tmp_path)
        return
    message = r"^projects/p/locations/r/customJobs/1 is a job for this very training .*cancel"
    with pytest.raises(RunError, match=message):
        run_job(small_world, tmp_path)
    assert len(client.asked) == 1
