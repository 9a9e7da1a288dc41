"""`gauntlet deploy --target vertex`, with the real client, against a server on the loopback."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gauntlet_kubeflow.clients import google as client
from gauntlet_kubeflow.deploy import vertex
from gauntlet_kubeflow.deploy.pushed import Pushed
from gauntlet_kubeflow.deploy.vertex import labels, split
from loopback import Asked, Failure, Loopback, Reply
from pushed_versions import PASSED, push
from vertex_server import PLACE, credentials, refusal, registry

from components.versions import PushedBy
from foundation.errors import ConfigError
from gauntlet.cli import main

MODEL, ENDPOINT = f"{PLACE}/models/77", f"{PLACE}/endpoints/88"
URI = "gs://bucket/serving/17"
TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."


@pytest.fixture(autouse=True)
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials, and nothing of this machine's environment."""
    monkeypatch.setattr(client, "SECONDS", 1.0)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials(tmp_path)))
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION"):
        monkeypatch.delenv(name, raising=False)


def done(kind: str, **response: Any) -> dict[str, Any]:
    """A long operation that is over."""
    return {
        "name": f"{PLACE}/operations/5",
        "done": True,
        "response": {"@type": f"{TYPES}{kind}", **response},
    }


UPLOADED = done("UploadModelResponse", model=MODEL, modelVersionId="2")

EMPTY: dict[tuple[str, str], Reply | Callable[[Asked], Reply]] = {
    ("GET", "models"): {"models": []},
    ("POST", "models:upload"): UPLOADED,
    ("GET", "endpoints"): {"endpoints": []},
    ("POST", "endpoints"): done("Endpoint", name=ENDPOINT, displayName="digits"),
    ("POST", "endpoints/88:deployModel"): done("DeployModelResponse", deployedModel={"id": "9"}),
}
"""A project without models and endpoints."""

KNOWN = {("GET", "models"): {"models": [{"name": MODEL, "displayName": "gauntlet"}]}}


def versions(*uris: str) -> dict[tuple[str, str], Reply]:
    """A registry that knows our model, with versions that lie there."""
    listed = [
        {"name": MODEL, "versionId": str(number), "artifactUri": uri}
        for number, uri in enumerate(uris, start=1)
    ]
    return {**KNOWN, ("GET", "models/77:listVersions"): {"models": listed}}


def serving(split: dict[str, int], *models: dict[str, str]) -> dict[tuple[str, str], Reply]:
    """An endpoint that serves models."""
    endpoint = {"name": ENDPOINT, "deployedModels": list(models), "trafficSplit": split}
    return {("GET", "endpoints"): {"endpoints": [endpoint]}}


def deploy(server: Loopback, root: Path, *options: str) -> Result:
    if not (root / "serving").exists():
        push(root, "17")
    place = ("--project", "p", "--region", "europe-west4", "--api-endpoint", server.url)
    where = ("--root", str(root), "--model-uri", URI)
    arguments = ["deploy", "--target", "vertex", *place, *where, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def asked(server: Loopback) -> list[tuple[str, str]]:
    return [(one.method, one.path.removeprefix(f"/v1/{PLACE}/")) for one in server.asked]


def body(server: Loopback, path: str) -> Any:
    (found,) = [one.body for one in server.asked if one.path.endswith(path) and one.body]
    return found


def test_the_first_version_makes_the_model(tmp_path: Path) -> None:
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path)
    assert ended.exit_code == 0, ended.output
    assert f"version 17 is {MODEL}@2: uploaded" in ended.output
    assert asked(server) == [("GET", "models"), ("POST", "models:upload")]
    assert server.asked[0].query["filter"] == 'display_name="gauntlet"'
    assert body(server, "models:upload") == {
        "model": {
            "displayName": "gauntlet",
            "versionAliases": ["default", "v17"],
            "versionDescription": (
                "Gauntlet's version 17, clean 97.00%, worst case 83.12%, run 20261127-080000-123456"
            ),
            "labels": {
                "gauntlet_version": "17",
                "run_id": "20261127-080000-123456",
                "pushed_by": "run",
                "clean": "0-9700",
                "worst_case": "0-8312",
            },
            "artifactUri": URI,
            "containerSpec": {
                "imageUri": "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
            },
        }
    }


def test_the_next_one_is_a_version_of_the_same_model(tmp_path: Path) -> None:
    with registry({**EMPTY, **versions("gs://bucket/serving/9")}).serving() as server:
        ended = deploy(server, tmp_path, "--serving-image", "mine/serving:2.21")
    assert ended.exit_code == 0, ended.output
    uploaded = body(server, "models:upload")
    assert uploaded["parentModel"] == MODEL
    assert uploaded["model"]["containerSpec"] == {"imageUri": "mine/serving:2.21"}


def test_the_same_version_is_not_uploaded_twice(tmp_path: Path) -> None:
    there = versions("gs://bucket/serving/9", f"{URI}/", "gs://bucket/serving/18")
    with registry({**EMPTY, **there}).serving() as server:
        ended = deploy(server, tmp_path)
    assert ended.exit_code == 0, ended.output
    assert f"version 17 is {MODEL}@2: was there already" in ended.output
    assert ("POST", "models:upload") not in asked(server)


def test_an_upload_is_waited_for(tmp_path: Path) -> None:
    pending = {"name": f"{MODEL}/operations/5", "done": False}
    routes = {
        **EMPTY,
        ("POST", "models:upload"): pending,
        ("GET", "models/77/operations/5"): UPLOADED,
    }
    with registry(routes).serving() as server:
        ended = deploy(server, tmp_path)
    assert ended.exit_code == 0, ended.output
    assert f"{MODEL}@2: uploaded" in ended.output
    assert "upload                   finished" in ended.output


def test_an_endpoint_is_made_and_serves_the_version(tmp_path: Path) -> None:
    options = ("--endpoint", "digits", "--machine-type", "n1-standard-4")
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path, *options)
    assert ended.exit_code == 0, ended.output
    assert "endpoint digits serves it" in ended.output
    assert body(server, "/endpoints") == {"displayName": "digits"}
    assert body(server, ":deployModel") == {
        "deployedModel": {
            "model": f"{MODEL}@2",
            "displayName": "gauntlet",
            "dedicatedResources": {
                "machineSpec": {"machineType": "n1-standard-4"},
                "minReplicaCount": 1,
                "maxReplicaCount": 1,
            },
        },
        "trafficSplit": {"0": 100},
    }


def test_a_share_of_the_traffic_of_an_endpoint_that_is_there(tmp_path: Path) -> None:
    there = serving({"4": 75, "5": 25}, {"id": "4", "model": MODEL, "modelVersionId": "1"})
    with registry({**EMPTY, **there}).serving() as server:
        ended = deploy(server, tmp_path, "--endpoint", "digits", "--traffic", "10")
    assert ended.exit_code == 0, ended.output
    assert body(server, ":deployModel")["trafficSplit"] == {"0": 10, "4": 68, "5": 22}
    assert ("POST", "endpoints") not in asked(server)


def test_what_an_endpoint_serves_is_not_deployed_twice(tmp_path: Path) -> None:
    there = serving({"4": 100}, {"id": "4", "model": MODEL, "modelVersionId": "1"})
    with registry({**EMPTY, **versions(URI), **there}).serving() as server:
        ended = deploy(server, tmp_path, "--endpoint", "digits")
    assert ended.exit_code == 0, ended.output
    assert "endpoint digits served it already" in ended.output
    assert {method for method, _ in asked(server)} == {"GET"}


def test_another_share_of_what_an_endpoint_serves_is_no_success(tmp_path: Path) -> None:
    there = serving({"4": 10, "5": 90}, {"id": "4", "model": MODEL, "modelVersionId": "1"})
    with registry({**EMPTY, **versions(URI), **there}).serving() as server:
        ended = deploy(server, tmp_path, "--endpoint", "digits", "--traffic", "100")
    assert ended.exit_code == 2
    assert "serves this version already, with 10 percent of the requests" in ended.output
    assert {method for method, _ in asked(server)} == {"GET"}


@pytest.mark.parametrize("option", [("--traffic", "10"), ("--machine-type", "n1-standard-4")])
def test_what_an_endpoint_needs_is_refused_without_one(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path, *option)
    assert ended.exit_code == 2
    assert f"{option[0]} is for --target vertex with --endpoint, not for" in ended.output
    assert server.asked == []


def test_a_share_without_anybody_for_the_rest(tmp_path: Path) -> None:
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path, "--endpoint", "digits", "--traffic", "10")
    assert ended.exit_code == 2
    assert "--traffic 10 leaves 90 percent to models that the endpoint served" in ended.output


@pytest.mark.parametrize("percent", [1, 33, 50, 99, 100])
@pytest.mark.parametrize("before", [{"1": 100}, {"1": 34, "2": 33, "3": 33}, {"1": 99, "2": 1}])
def test_the_shares_are_whole_and_100_together(before: dict[str, int], percent: int) -> None:
    shares = split({**before, "idle": 0}, percent)
    assert shares["0"] == percent
    assert sum(shares.values()) == 100
    assert min(shares.values()) > 0
    assert "idle" not in shares


def test_labels_have_the_letters_that_google_takes() -> None:
    card = dataclasses.replace(PASSED, run_id="Run/1 é" + "x" * 80)
    made = labels(Pushed(folder="gs://b", version="17", card=card, newest=True))
    assert made["run_id"] == "run-1--" + "x" * 56
    assert all(set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for text in made.values())


def test_two_models_of_one_name(tmp_path: Path) -> None:
    twins = [{"name": f"{PLACE}/models/{number}"} for number in (1, 2)]
    with registry({**EMPTY, ("GET", "models"): {"models": twins}}).serving() as server:
        ended = deploy(server, tmp_path)
    assert ended.exit_code == 2
    assert "2 models called 'gauntlet'" in ended.output
    assert "give another --name" in ended.output


def test_a_version_pushed_by_force_reaches_nobody(tmp_path: Path) -> None:
    push(tmp_path, "17", dataclasses.replace(PASSED, kind=PushedBy.FORCED, refused_by="square"))
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path)
        assert ended.exit_code == 2
        assert "was pushed by force: square refused it" in ended.output
        assert server.asked == []
        assert deploy(server, tmp_path, "--force").exit_code == 0
    assert body(server, "models:upload")["model"]["labels"]["pushed_by"] == "forced"


def test_a_store_that_vertex_cannot_read(tmp_path: Path) -> None:
    push(tmp_path, "17")
    with registry(EMPTY).serving() as server:
        ended = deploy(server, tmp_path, "--model-uri", "s3://bucket/serving/17")
    assert ended.exit_code == 2
    assert "Vertex AI reads gs:// only, not s3://bucket/serving" in ended.output
    assert server.asked == []


@pytest.mark.parametrize(
    ("path", "answer", "code", "message"),
    [
        (("GET", "models"), refusal(403), 2, "needs the role roles/aiplatform.user"),
        (("GET", "models"), refusal(503), 1, "answers 503"),
        (("GET", "models"), Failure.DROP, 1, "does not answer"),
        (("POST", "models:upload"), refusal(400, "bad image"), 1, "bad image"),
        (("POST", "models:upload"), Failure.DROP, 1, "does not repeat what is done"),
        (
            ("POST", "models:upload"),
            {"name": "x", "done": True, "error": {"code": 9, "message": "no such folder"}},
            1,
            "no such folder",
        ),
        (("GET", "endpoints"), refusal(404), 1, "answers 404"),
    ],
    ids=["403", "503", "dropped", "400", "dropped upload", "failed upload", "404"],
)
def test_what_fails_is_one_line(
    tmp_path: Path, path: tuple[str, str], answer: Reply, code: int, message: str
) -> None:
    with registry({**EMPTY, path: answer}).serving() as server:
        ended = deploy(server, tmp_path, "--endpoint", "digits")
    assert ended.exit_code == code, ended.output
    assert message in ended.output.splitlines()[-1]
    assert "Traceback" not in ended.output


def test_an_upload_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vertex, "UPLOAD_SECONDS", 0.1)
    pending = {"name": f"{MODEL}/operations/5", "done": False}
    routes = {
        **EMPTY,
        ("POST", "models:upload"): pending,
        ("GET", "models/77/operations/5"): pending,
    }
    with registry(routes).serving() as server:
        ended = deploy(server, tmp_path)
    assert ended.exit_code == 1
    assert "Vertex AI may still be at it" in ended.output


def test_without_anybody_the_rest_has_no_server() -> None:
    with pytest.raises(ConfigError, match="there are none"):
        split({}, 99)
