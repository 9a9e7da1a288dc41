"""What `gauntlet compile` really writes, submitted: it arrives as it was written."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from kfp_server import kfp
from vertex_server import credentials, pipelines

from gauntlet.cli import main

pytestmark = pytest.mark.platforms

PARAMETERS = (
    "--param",
    "threat.epsilon=0.1",
    "--param",
    "gates.worst_case=0.5",
    "--param",
    "seed=4",
)
VALUES = {"threat_epsilon": 0.1, "gates_worst_case": 0.5, "seed": 4}


def run(*arguments: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output


def compiled(target: str, file: Path, *options: str) -> list[Any]:
    place = ("--pipeline-root", "gs://bucket/f", "--image", "registry/gauntlet:1")
    run("compile", "--preset", "smoke", "--target", target, *place, "--output", str(file), *options)
    return list(yaml.safe_load_all(file.read_text()))


def test_kubeflow_gets_both_documents_and_the_values(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    specification, platforms = compiled("kfp-v2", file, "--volume", "claim:/mnt/gauntlet")
    with kfp().serving() as server:
        run("submit", str(file), "--target", "kfp-v2", "--host", server.url, *PARAMETERS)
    created = server.asked[-1].body
    assert created["pipeline_spec"] == {"pipeline_spec": specification, "platform_spec": platforms}
    assert created["runtime_config"] == {"parameters": VALUES}
    cut = tmp_path / "cut.yaml"
    cut.write_text(yaml.safe_dump(specification))
    done = CliRunner().invoke(main, ["submit", str(cut), "--target", "local"])
    assert done.exit_code == 2
    assert "was cut off or changed: the volume is not mounted by AdversarialExam" in done.output


def test_vertex_gets_the_job_and_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials(tmp_path)))
    file = tmp_path / "pipeline.json"
    (job,) = compiled("vertex", file)
    place = ("--target", "vertex", "--project", "p", "--region", "europe-west4")
    with pipelines().serving() as server:
        run("submit", str(file), *place, "--api-endpoint", server.url, *PARAMETERS)
    (asked,) = server.asked
    assert asked.body["pipelineSpec"] == job["pipelineSpec"]
    assert asked.body["runtimeConfig"] == job["runtimeConfig"] | {"parameterValues": VALUES}
