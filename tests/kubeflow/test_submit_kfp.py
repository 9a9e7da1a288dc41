"""`gauntlet submit --target kfp-v2`, with the real client, against a server on the loopback."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import main_thread
from typing import Any

import pytest
from click.testing import CliRunner, Result
from compiled_files import PLATFORMS, kfp_file, spec
from gauntlet_kubeflow.clients import kfp as client
from gauntlet_kubeflow.clients import watch
from kfp_server import EXPERIMENT, RUN, kfp, node, nodes, run
from loopback import Answer, Asked, Failure, Loopback, Reply, certificate, closed_port

from gauntlet.cli import main

DONE = ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting, and nothing of this machine's environment."""
    pace = watch.Pace(poll=0.0, first_retry=0.01, longest_retry=0.02, give_up=0.3)
    monkeypatch.setattr(watch, "PACE", pace)
    monkeypatch.setattr(client, "SECONDS", 1)
    for name in ("KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT", "KFP_NAMESPACE", "KFP_EXISTING_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def submit(server: Loopback | str, file: Path, *options: str) -> Result:
    url = server if isinstance(server, str) else server.url
    arguments = ["submit", str(file), "--target", "kfp-v2", "--host", url, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def bodies(server: Loopback, path: str) -> list[Any]:
    return [asked.body for asked in server.asked if asked.path.endswith(path) and asked.body]


def test_the_run_is_created_with_all_that_was_said(tmp_path: Path) -> None:
    options = (
        "--namespace",
        "ml",
        "--experiment",
        "E",
        "--token",
        "t0k",
        "--service-account",
        "sa",
    )
    with kfp(experiments={}).serving() as server:
        done = submit(server, kfp_file(tmp_path), *options, "--pipeline-root", "s3://other/place")
    assert done.exit_code == 0, done.output
    assert f"run {RUN}" in done.output
    assert f"{server.url}/#/runs/details/{RUN}" in done.output
    look, make, create = server.asked
    assert look.query["namespace"] == "ml"
    (predicate,) = json.loads(look.query["filter"])["predicates"]
    assert predicate == {"operation": 1, "key": "display_name", "stringValue": "E"}
    assert make.body == {"display_name": "E", "namespace": "ml"}
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer t0k"}
    name = create.body.pop("display_name")
    assert name.startswith("gauntlet 20")
    assert create.body == {
        "experiment_id": EXPERIMENT,
        "pipeline_spec": spec(),
        "runtime_config": {"parameters": {}, "pipeline_root": "s3://other/place"},
        "service_account": "sa",
    }


def test_an_experiment_that_is_there_is_used(tmp_path: Path) -> None:
    with kfp().serving() as server:
        assert submit(server, kfp_file(tmp_path)).exit_code == 0
    assert [asked.method for asked in server.asked] == ["GET", "POST"]
    (created,) = bodies(server, "/runs")
    assert created["experiment_id"] == EXPERIMENT
    assert created["runtime_config"] == {"parameters": {}}


def test_volumes_travel_beside_the_specification(tmp_path: Path) -> None:
    with kfp().serving() as server:
        assert submit(server, kfp_file(tmp_path, volumes=True)).exit_code == 0
    (created,) = bodies(server, "/runs")
    assert created["pipeline_spec"] == {"pipeline_spec": spec(), "platform_spec": PLATFORMS}


def test_without_the_cache_no_task_may_use_it(tmp_path: Path) -> None:
    with kfp().serving() as server:
        assert submit(server, kfp_file(tmp_path), "--no-cache").exit_code == 0
    (created,) = bodies(server, "/runs")
    tasks = created["pipeline_spec"]["root"]["dag"]["tasks"]
    assert [task["cachingOptions"] for task in tasks.values()] == [{"enableCache": False}] * 3


def test_parameters_reach_the_run(tmp_path: Path) -> None:
    options = ("--param", "threat.epsilon=0.1", "--param", "seed=3")
    with kfp().serving() as server:
        done = submit(server, kfp_file(tmp_path), *options)
    assert done.exit_code == 0, done.output
    (created,) = bodies(server, "/runs")
    assert created["runtime_config"]["parameters"] == {"threat_epsilon": 0.1, "seed": 3}


def test_a_token_in_a_file_is_read_for_each_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")

    def renewed(asked: Asked) -> Reply | None:
        token.write_text(f"after-{asked.method}")
        return None

    with kfp(check=renewed).serving() as server:
        assert submit(server, kfp_file(tmp_path), "--token", f"@{token}").exit_code == 0
    assert [asked.headers["authorization"] for asked in server.asked] == [
        "Bearer first",
        "Bearer after-GET",
    ]


def test_waiting_tells_of_each_task_once_and_ends_with_0(tmp_path: Path) -> None:
    script = (
        run("PENDING", details=[]),
        run("RUNNING", "RUNNING"),
        run("RUNNING", "RUNNING"),
        run("RUNNING", "CACHED", "RUNNING"),
        run("SUCCEEDED", "CACHED", "SUCCEEDED", "SUCCEEDED"),
    )
    with kfp(*script).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert [line[:3] for line in lines if line[-1] == "s"] == [
        ["TfdsExampleGen", "cached", "90.0"],
        ["Trainer-robust", "finished", "90.0"],
        ["Verdict", "finished", "90.0"],
    ]
    assert "pushed" in done.output


def test_a_refused_model_is_exit_code_3(tmp_path: Path) -> None:
    with kfp(run("FAILED", "SUCCEEDED", "SUCCEEDED", "FAILED")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 3, done.output
    assert "refused: the task Verdict failed, as it does when the gates refuse" in done.output
    assert "kubectl logs -n kubeflow gauntlet-x7k2p-system-container-impl-33 -c main" in done.output


def test_a_failed_task_is_named_with_its_log(tmp_path: Path) -> None:
    with kfp(run("FAILED", "SUCCEEDED", "FAILED")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait", "--namespace", "ml")
    assert done.exit_code == 1
    assert "task Trainer-robust failed; its log: kubectl logs -n ml " in done.output
    assert "gauntlet-x7k2p-system-container-impl-23 -c main" in done.output
    assert "refused" not in done.output


def test_a_task_that_failed_beside_the_verdict_is_a_failure(tmp_path: Path) -> None:
    with kfp(run("FAILED", "SUCCEEDED", "FAILED", "FAILED")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert "task Trainer-robust failed; its log: " in done.output
    assert "task Verdict failed; its log: " in done.output


def test_of_a_task_that_was_retried_the_last_try_has_the_log(tmp_path: Path) -> None:
    details = [
        node("Trainer-robust", 22, "FAILED", [23]),
        node("executor", 23, "FAILED", [24, 25]),
        node("executor(0)", 24, "FAILED"),
        node("executor(1)", 25, "FAILED"),
    ]
    with kfp(run("FAILED", details=details)).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert "system-container-impl-25 -c main" in done.output


def test_a_verdict_that_never_ran_is_a_failure(tmp_path: Path) -> None:
    """Whether the model was pushed before is another matter."""
    details = [*nodes("SUCCEEDED", "SUCCEEDED"), node("Verdict-driver", 31, "FAILED")]
    with kfp(run("FAILED", details=details)).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1, done.output
    assert "task Verdict failed; its log: " in done.output
    assert "refused" not in done.output


def test_a_driver_that_failed_is_its_task(tmp_path: Path) -> None:
    details = [*nodes("SUCCEEDED"), node("Trainer-robust-driver", 21, "FAILED")]
    with kfp(run("FAILED", details=details)).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert "task Trainer-robust failed" in done.output
    assert "system-container-impl-21 -c main" in done.output


def test_a_run_that_fails_without_a_task_says_why(tmp_path: Path) -> None:
    failed = run("FAILED", details=[]) | {"error": {"code": 3, "message": "invalid workflow"}}
    with kfp(failed).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert f"the run failed: invalid workflow; see {server.url}/#/runs/details/{RUN}" in done.output


def test_a_run_that_was_skipped_pushed_nothing(tmp_path: Path) -> None:
    with kfp(run("SKIPPED")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert "the run failed: no task says why" in done.output


def test_a_cancelled_run_is_a_failure(tmp_path: Path) -> None:
    with kfp(run("CANCELED", "SUCCEEDED")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert "the run was cancelled" in done.output


@pytest.mark.parametrize(
    "lost",
    [Failure.DROP, Failure.SILENCE, Answer(status=500, body={"error": "busy"}), Answer(status=429)],
    ids=["dropped", "silent", "500", "429"],
)
def test_a_connection_that_comes_back_costs_one_line(
    tmp_path: Path, lost: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lost is Failure.SILENCE:
        monkeypatch.setattr(watch, "PACE", watch.Pace(poll=0.0, first_retry=0.01))
    script = (run("RUNNING", "RUNNING"), lost, lost, run("SUCCEEDED", *DONE))
    with kfp(*script).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 0, done.output
    assert done.output.count("trying again") == 1


def test_a_connection_that_stays_away_ends_with_the_run_id(tmp_path: Path) -> None:
    with kfp(run("RUNNING", "RUNNING"), Failure.DROP).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert f"{server.url} does not answer" in done.output
    assert f"run {RUN} itself may go on: follow or cancel it at {server.url}/#/runs/" in done.output
    assert done.output.count("trying again") == 1


@pytest.mark.parametrize("status", [401, 404])
def test_an_answer_that_no_retry_mends_ends_the_wait_at_once(tmp_path: Path, status: int) -> None:
    refusal = Answer(status=status, body={"error": "no"})
    with kfp(run("RUNNING", "RUNNING"), refusal).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 1
    assert f"answers {status}" in done.output
    assert f"run {RUN} itself may go on" in done.output
    assert "trying again" not in done.output


def test_the_wait_has_an_end(tmp_path: Path) -> None:
    with kfp(run("RUNNING", "RUNNING")).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait", "--timeout", "0.05")
    assert done.exit_code == 1
    assert f"the run is not over after 0.05 s; run {RUN} itself may go on" in done.output


def test_the_wait_has_an_end_while_the_connection_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PACE", watch.Pace(poll=0.0, first_retry=0.01))
    with kfp(Failure.DROP).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait", "--timeout", "0.1")
    assert done.exit_code == 1
    assert f"run {RUN} itself may go on" in done.output


def interrupting(method: str, path: str) -> Callable[[Asked], Reply | None]:
    """Ctrl-C, when that is asked: this process is sent the signal, and no answer."""

    def check(asked: Asked) -> Reply | None:
        if asked.method != method or not asked.path.endswith(path):
            return None
        time.sleep(0.1)  # then the client waits: an interrupt elsewhere may meet a destructor
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)
        return Failure.SILENCE

    return check


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts reach this process, which a shell may have started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupting_the_wait_leaves_the_run_alone(tmp_path: Path) -> None:
    with kfp(check=interrupting("GET", RUN)).serving() as server:
        done = submit(server, kfp_file(tmp_path), "--wait")
    assert done.exit_code == 130
    assert f"stopped waiting; run {RUN} itself may go on: follow or cancel it at" in done.output
    assert [asked.method for asked in server.asked] == ["GET", "POST", "GET"]


@pytest.mark.usefixtures("interruptible")
def test_interrupting_the_submission_warns_of_a_second_run(tmp_path: Path) -> None:
    with kfp(check=interrupting("POST", "/runs")).serving() as server:
        done = submit(server, kfp_file(tmp_path))
    assert done.exit_code == 130
    assert "it may have begun: look for it before you submit again" in done.output
    assert "run the same command again" not in done.output


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (Answer(status=401, body={"error": "who"}), 2, "give --token and"),
        (Answer(status=403, body={"error": "no"}), 2, "you have no right to do this"),
        (Answer(status=302, headers={"Location": "/dex"}), 2, "it wants to know who you are"),
        (Answer(body="<html>log in</html>"), 2, "does not answer as Kubeflow Pipelines does"),
        (Answer(body=[1]), 2, "does not answer as Kubeflow Pipelines does"),
        (Answer(status=404, body="page not found"), 1, "answers 404 Not Found"),
        (Answer(status=503), 1, "answers 503"),
        (Failure.DROP, 1, "does not answer: "),
        (Failure.SILENCE, 1, "does not answer: "),
    ],
    ids=["401", "403", "302", "page", "list", "404", "503", "dropped", "silent"],
)
def test_a_service_that_cannot_be_used_is_one_line(
    tmp_path: Path, answer: Reply, code: int, message: str
) -> None:
    with kfp(experiments=answer).serving() as server:
        done = submit(server, kfp_file(tmp_path))
    assert done.exit_code == code, done.output
    (line,) = done.output.splitlines()
    assert server.url in line
    assert message in line


def test_a_pipeline_that_the_service_refuses(tmp_path: Path) -> None:
    refusal = Answer(status=400, body={"message": "unknown field 'x'", "code": 3})
    with kfp(create=refusal).serving() as server:
        done = submit(server, kfp_file(tmp_path))
    assert done.exit_code == 1
    assert "answers 400 Bad Request: unknown field 'x'" in done.output


def test_a_run_that_may_have_begun_is_not_hidden(tmp_path: Path) -> None:
    with kfp(create=Failure.DROP).serving() as server:
        done = submit(server, kfp_file(tmp_path))
    assert done.exit_code == 1
    (created,) = bodies(server, "/runs")
    assert f"the run may have begun: look for '{created['display_name']}'" in done.output


def test_nobody_listens(tmp_path: Path) -> None:
    url = closed_port()
    done = submit(url, kfp_file(tmp_path))
    assert done.exit_code == 1
    assert f"failed: {url} does not answer: " in done.output
    assert len(done.output.splitlines()) == 1


def test_a_certificate_is_trusted_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    plain = kfp()
    reply = plain._server.RequestHandlerClass
    plain._server.server_close()
    secure = Loopback(lambda asked: {}, certificate=file)
    secure._server.RequestHandlerClass = reply
    with secure.serving():
        done = submit(secure, kfp_file(tmp_path))
        assert done.exit_code == 2, done.output
        assert f"the certificate of {secure.url} is not trusted" in done.output
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert submit(secure, kfp_file(tmp_path)).exit_code == 0


def test_without_a_host_nothing_is_asked(tmp_path: Path) -> None:
    arguments = ["submit", str(kfp_file(tmp_path)), "--target", "kfp-v2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "--host names no service of Kubeflow Pipelines" in done.output


def test_the_host_is_in_the_environment_too(tmp_path: Path) -> None:
    with kfp().serving() as server:
        arguments = ["submit", str(kfp_file(tmp_path)), "--target", "kfp-v2"]
        done = CliRunner().invoke(main, arguments, env={"KFP_ENDPOINT": server.url})
    assert done.exit_code == 0, done.output


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    done = submit("http://127.0.0.1:1", kfp_file(tmp_path), "--token", "@/no/token")
    assert done.exit_code == 2
    assert "--token: /no/token cannot be read: No such file" in done.output
