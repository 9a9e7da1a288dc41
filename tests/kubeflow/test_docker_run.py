"""A compiled specification of Kubeflow Pipelines, each task in its container: the image of the
unchanged Dockerfile, no network, a user without rights, writing only to what is mounted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from docker_daemon import Built
from rehearsal import answers, compiled, local_run, shared_folder, some_images, submitted

pytestmark = pytest.mark.docker


def test_to_the_model_of_a_local_run(
    docker_image: Built,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_image.environment["DOCKER_HOST"])
    local = local_run(shared_folder(tmp_path_factory))
    root = tmp_path / "cluster"
    shutil.copytree(local.data, root / "minio" / "bucket" / "mnist")
    file = compiled(
        tmp_path / "pipeline.yaml", "--target", "kfp-v2", "--image", docker_image.image,
        "--pipeline-root", "minio://bucket/f", "--volume", "models:/mnt/gauntlet",
        "--data-uri", "minio://bucket/mnist", "--data-fingerprint", local.fingerprint,
    )  # fmt: skip
    outcome = submitted(file, root, "--docker")
    assert outcome.code == 0, outcome.text
    assert set(outcome.states.values()) == {"finished"}
    (version,) = (root / "volumes" / "models" / "gauntlet" / "serving").iterdir()
    (written,) = root.glob("minio/bucket/f/artifacts/*/Summary/summary/summary.json")
    summary = json.loads(written.read_text())
    assert summary["pushed"] == f"/mnt/gauntlet/gauntlet/serving/{version.name}"
    assert summary["gates"] == local.summary["gates"]
    images = np.array(some_images())
    here, there = answers(local.summary["pushed"], images), answers(str(version), images)
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])
