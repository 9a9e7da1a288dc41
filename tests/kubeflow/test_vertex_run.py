"""A compiled job of Vertex AI, run task by task on `gs://`: to the model of a local run, and to a
refusal with all that was computed before from the cache."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_gcs import REFUSED
from rehearsal import (
    LOOKS,
    Local,
    Outcome,
    check_same_model,
    compiled,
    local_run,
    newest_summary,
    shared_folder,
    submitted,
)

pytestmark = pytest.mark.platforms


@dataclass(frozen=True)
class World:
    """Google Cloud on this machine, and a local run. bucket: folder of its objects."""

    local: Local
    folder: Path
    job: Path

    @property
    def bucket(self) -> Path:
        return self.folder / "gcs" / "bucket"

    @property
    def versions(self) -> list[Path]:
        return sorted((self.bucket / "f" / "digits" / "serving").glob("[0-9]*"))

    def submitted(self, *options: str) -> Outcome:
        """Submit the job where `gs://` leads to the folder of objects."""
        fake = str(Path(__file__).parents[1] / "support" / "fake_gcs.py")
        before = (sys.executable, fake, "--folder", str(self.bucket.parent), "--")
        outcome = submitted(self.job, self.folder / "vertex", *options, before=before)
        if outcome.code == REFUSED:
            pytest.skip("no namespaces here: NO JOB OF VERTEX AI IS TESTED")
        return outcome

    def summary(self) -> dict[str, Any]:
        """That of the newest run."""
        return newest_summary(self.bucket / "f" / "artifacts")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("vertex")
    local = local_run(shared_folder(tmp_path_factory))
    shutil.copytree(local.data, folder / "gcs" / "bucket" / "mnist")
    job = compiled(
        folder / "job.json", "--target", "vertex", "--image", "registry/gauntlet:1", "--name",
        "digits", "--pipeline-root", "gs://bucket/f", "--data-uri", "gs://bucket/mnist",
        "--data-fingerprint", local.fingerprint,
    )  # fmt: skip
    return World(local, folder, job)


@pytest.fixture(scope="module")
def first(world: World) -> Outcome:
    return world.submitted()


def test_to_the_model_of_a_local_run(first: Outcome, world: World) -> None:
    assert first.code == 0, first.text
    assert set(first.states.values()) == {"finished"}
    (version,) = world.versions
    summary = world.summary()
    assert summary["pushed"] == f"gs://bucket/f/digits/serving/{version.name}"
    check_same_model(world.local, summary, version)


def test_a_fragile_model_is_refused_with_all_that_was_computed(
    first: Outcome, world: World
) -> None:
    refused = world.submitted("--param", "gates.worst_case=0.9")
    assert refused.code == 3, refused.text
    expected = LOOKS | {"Parameters", "AnomalyGate", "ChampionChallenge", "Evaluator"}
    assert refused.ran - {"Data"} == expected
    assert world.summary()["refused_by"] == ["worst_case"]
    assert len(world.versions) == 1
