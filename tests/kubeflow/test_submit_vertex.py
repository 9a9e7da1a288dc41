"""`gauntlet submit --target vertex`, with the real client, against a server on the loopback."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from compiled_files import spec, vertex_file
from gauntlet_kubeflow.clients import google as client
from gauntlet_kubeflow.clients import watch
from loopback import Answer, Failure, Loopback, Reply, certificate, closed_port
from vertex_server import FAILURE, PLACE, credentials, job, pipelines, refusal

from gauntlet.cli import main

PLACES = ("--project", "p", "--region", "europe-west4")
RUN = re.compile(r"run (gauntlet-\d{14}-[0-9a-f]{4})")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting, and nothing of this machine's environment."""
    pace = watch.Pace(poll=0.0, first_retry=0.01, longest_retry=0.02, give_up=0.3)
    monkeypatch.setattr(watch, "PACE", pace)
    monkeypatch.setattr(client, "SECONDS", 1.0)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials(tmp_path)))
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION"):
        monkeypatch.delenv(name, raising=False)


def submit(server: Loopback | str, file: Path, *options: str) -> Result:
    url = server if isinstance(server, str) else server.url
    given = ["submit", str(file), "--target", "vertex", *PLACES, "--api-endpoint", url, *options]
    return CliRunner().invoke(main, given, env={"COLUMNS": "200"})


def run_id(done: Result) -> str:
    found = RUN.search(done.output)
    assert found, done.output
    return found[1]


def test_the_job_is_created_with_all_that_was_said(tmp_path: Path) -> None:
    options = ("--service-account", "sa@p", "--pipeline-root", "gs://other/place")
    with pipelines().serving() as server:
        done = submit(server, vertex_file(tmp_path), *options)
    assert done.exit_code == 0, done.output
    name = run_id(done)
    assert (
        "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/"
        f"{name}?project=p"
    ) in done.output
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", f"/v1/{PLACE}/pipelineJobs")
    assert asked.query["pipelineJobId"] == name
    assert asked.headers["authorization"].startswith("Bearer ey")
    assert asked.body == {
        "displayName": "gauntlet",
        "pipelineSpec": spec(),
        "runtimeConfig": {"gcsOutputDirectory": "gs://other/place"},
        "serviceAccount": "sa@p",
    }


def test_the_compiled_root_stays_and_no_task_uses_the_cache(tmp_path: Path) -> None:
    with pipelines().serving() as server:
        assert submit(server, vertex_file(tmp_path), "--no-cache").exit_code == 0
    (asked,) = server.asked
    assert asked.body["runtimeConfig"] == {"gcsOutputDirectory": "gs://bucket/artifacts"}
    tasks = asked.body["pipelineSpec"]["root"]["dag"]["tasks"]
    assert [task["cachingOptions"] for task in tasks.values()] == [{"enableCache": False}] * 3


def test_parameters_reach_the_job(tmp_path: Path) -> None:
    options = ("--param", "threat.epsilon=0.1", "--param", "seed=3")
    with pipelines().serving() as server:
        done = submit(server, vertex_file(tmp_path), *options)
    assert done.exit_code == 0, done.output
    (asked,) = server.asked
    assert asked.body["runtimeConfig"]["parameterValues"] == {"threat_epsilon": 0.1, "seed": 3}


def test_waiting_tells_of_each_task_once_and_ends_with_0(tmp_path: Path) -> None:
    script = (
        job("PENDING"),
        job("RUNNING", "RUNNING"),
        job("RUNNING", "SKIPPED", "RUNNING"),
        job("SUCCEEDED", "SKIPPED", "SUCCEEDED", "SUCCEEDED"),
    )
    with pipelines(*script).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert [line[:3] for line in lines if line[-1] == "s"] == [
        ["TfdsExampleGen", "cached", "90.0"],
        ["Trainer-robust", "finished", "90.0"],
        ["Verdict", "finished", "90.0"],
    ]
    assert server.asked[-1].path == f"/v1/{PLACE}/pipelineJobs/{run_id(done)}"


def test_a_refused_model_is_exit_code_3(tmp_path: Path) -> None:
    with pipelines(
        job("FAILED", "SUCCEEDED", "SUCCEEDED", "FAILED", failure=FAILURE.format(3))
    ).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 3, done.output
    assert "refused: this model was not pushed" in done.output


@pytest.mark.parametrize("failure", [FAILURE.format(137), "Internal error occurred."])
def test_a_verdict_that_could_not_decide_is_a_failure(tmp_path: Path, failure: str) -> None:
    """Out of memory, say; whether the model was pushed is another matter."""
    end = job("FAILED", "SUCCEEDED", "SUCCEEDED", "FAILED", failure=failure)
    with pipelines(end).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 1, done.output
    assert f"task Verdict failed ({failure})" in done.output
    assert "refused" not in done.output


def test_a_failed_task_is_named_with_its_log(tmp_path: Path) -> None:
    with pipelines(job("FAILED", "SUCCEEDED", "FAILED")).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert (
        "non-zero status of 1); its log: gcloud logging read resource.labels.job_id=77 --project=p"
    ) in done.output


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (job("CANCELLED", "SUCCEEDED"), "the run was cancelled: https://console.cloud"),
        (job("FAILED", error="no quota"), "the run failed: no quota; see https://console.cloud"),
    ],
    ids=["cancelled", "failed"],
)
def test_a_run_that_ends_otherwise(tmp_path: Path, end: Reply, message: str) -> None:
    with pipelines(end).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert message in done.output


@pytest.mark.parametrize(
    "lost", [Failure.DROP, Failure.SILENCE, refusal(500), refusal(429)],
    ids=["dropped", "silent", "500", "429"],
)  # fmt: skip
def test_a_connection_that_comes_back_costs_one_line(
    tmp_path: Path, lost: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PACE", watch.Pace(poll=0.0, first_retry=0.01))
    script = (job("RUNNING", "RUNNING"), lost, lost, job("SUCCEEDED", *3 * ["SUCCEEDED"]))
    with pipelines(*script).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 0, done.output
    assert done.output.count("trying again") == 1


def test_a_connection_that_stays_away_ends_with_the_run_id(tmp_path: Path) -> None:
    with pipelines(job("RUNNING", "RUNNING"), Failure.DROP).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert f"run {run_id(done)} itself may go on: follow or cancel it at https" in done.output


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_answer_that_no_retry_mends_ends_the_wait_at_once(tmp_path: Path, status: int) -> None:
    with pipelines(job("RUNNING", "RUNNING"), refusal(status)).serving() as server:
        done = submit(server, vertex_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert f"answers {status}" in done.output
    assert f"run {run_id(done)} itself may go on" in done.output
    assert "trying again" not in done.output


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refusal(401), 2, "needs the role roles/aiplatform.user"),
        (refusal(403, "denied"), 2, "answers 403: "),
        (refusal(400, "bad spec"), 1, "answers 400 "),
        (refusal(404), 1, "answers 404 "),
        (refusal(503), 1, "answers 503 "),
        (Answer(body="<html>log in</html>"), 2, "does not answer as Vertex AI does"),
        (Failure.DROP, 1, "the run may have begun: look at https://console"),
        (Failure.SILENCE, 1, "the run may have begun: look at https://console"),
    ],
    ids=["401", "403", "400", "404", "503", "page", "dropped", "silent"],
)
def test_a_service_that_cannot_be_used_is_one_line(
    tmp_path: Path, answer: Reply, code: int, message: str
) -> None:
    with pipelines(create=answer).serving() as server:
        done = submit(server, vertex_file(tmp_path))
    assert done.exit_code == code, done.output
    (line,) = done.output.splitlines()
    assert message in line
    assert server.url in line


def test_nobody_listens(tmp_path: Path) -> None:
    url = closed_port()
    done = submit(url, vertex_file(tmp_path))
    assert done.exit_code == 1
    assert f"failed: {url} does not answer: " in done.output
    assert len(done.output.splitlines()) == 1


def test_a_certificate_is_trusted_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    with Loopback(lambda asked: {"name": "j"}, certificate=file).serving() as server:
        done = submit(server, vertex_file(tmp_path))
        assert done.exit_code == 2, done.output
        assert f"the certificate of {server.url} is not trusted" in done.output
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
        assert submit(server, vertex_file(tmp_path)).exit_code == 0


def test_without_credentials_the_command_that_makes_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    done = submit("http://127.0.0.1:1", vertex_file(tmp_path))
    assert done.exit_code == 2
    assert "`gcloud auth application-default login` makes them" in done.output
    assert len(done.output.splitlines()) == 1


def test_credentials_that_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "damaged.json"
    file.write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    done = submit("http://127.0.0.1:1", vertex_file(tmp_path))
    assert done.exit_code == 2
    assert str(file) in done.output


def test_a_token_that_nobody_gives_is_a_lost_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"type": "external_account", "audience": "a", "subject_token_type": "t"}
    subject = tmp_path / "subject"
    subject.write_text("s")
    user |= {"token_url": f"{closed_port()}/token", "credential_source": {"file": str(subject)}}
    file = tmp_path / "user.json"
    file.write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    done = submit("http://127.0.0.1:1", vertex_file(tmp_path))
    assert done.exit_code == 1, done.output
    assert "no token of Google Cloud: " in done.output


@pytest.mark.parametrize("missing", ["project", "region"])
def test_project_and_region_are_needed(tmp_path: Path, missing: str) -> None:
    given = {"project": "p", "region": "r"}
    del given[missing]
    options = [text for name, value in given.items() for text in (f"--{name}", value)]
    arguments = ["submit", str(vertex_file(tmp_path)), "--target", "vertex", *options]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert f"--{missing} is missing; Vertex AI needs it" in done.output
