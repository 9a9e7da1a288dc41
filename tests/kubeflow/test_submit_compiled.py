"""What `gauntlet compile` really writes, submitted: it arrives as it was written."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from gauntlet_kubeflow.clients.compiled import read_compiled
from gauntlet_kubeflow.clients.request import Destination
from kfp_server import kfp
from vertex_server import credentials, pipelines

from components.mandate import Mandate
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


def commands(verb: str) -> list[list[str]]:
    """Those of the document, with values in the place of the reader's own."""
    document = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text()
    lines = [line for line in document.splitlines() if line.startswith(f"gauntlet {verb} ")]
    own = {"sha256:...": f"sha256:{64 * '0'}", "BUCKET": "bucket", "$PWD": "/tmp"}
    for theirs, value in own.items():
        lines = [line.replace(theirs, value) for line in lines]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("words", commands("compile"), ids=lambda words: words[-1])
def test_what_the_document_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(*words)
    file = Path(words[words.index("--output") + 1])
    assert read_compiled(file, Destination.LOCAL).target == words[words.index("--target") + 1]


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


def test_whoever_submits_answers_for_one_run(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    compiled("kfp-v2", file, "--volume", "claim:/mnt/gauntlet")
    with kfp().serving() as server:
        place = ("--target", "kfp-v2", "--host", server.url)
        run("submit", str(file), *place, "--replace", "--reason", "clothes now")
    (mandate,) = server.asked[-1].body["runtime_config"]["parameters"].values()
    assert Mandate.of_json(mandate).signature.reason == "clothes now"


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
