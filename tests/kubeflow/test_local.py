"""The platform on this machine, with tasks of a few lines: what a task is given, what is published,
what runs after a failure, and what the cache knows again."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from gauntlet_kubeflow.clients.run import TaskState
from gauntlet_kubeflow.local.platform import LocalPlatform

from foundation.errors import ConfigError, RunError

SCHEMA = {"instanceSchema": "title: tfx.Schema\ntype: object\n"}

WRITE = """
    import json, os, sys
    given = json.loads(sys.argv[1])
    outputs = given["outputs"]
    report = {"artifacts": {}, "parameterValues": {}}
    for name, each in outputs.get("artifacts", {}).items():
        (artifact,) = each["artifacts"]
        report["artifacts"][name] = {"artifacts": [{"metadata": {"seen": json.dumps(given)}}]}
    for name in outputs.get("parameters", {}):
        report["parameterValues"][name] = "a value"
    os.makedirs(os.path.dirname(outputs["outputFile"]), exist_ok=True)
    print(json.dumps(report), file=open(outputs["outputFile"], "w"))
"""
"""A task that reports all its outputs, with what it was given in their metadata."""


def container(code: str = WRITE, **env: str) -> dict[str, Any]:
    return {
        "container": {
            "image": "i",
            "command": ["python", "-c", textwrap.dedent(code)],
            "args": ["{{$}}"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
        }
    }


def spec(codes: dict[str, str], edges: dict[str, str], **tasks: dict[str, Any]) -> dict[str, Any]:
    """A specification. codes: by task. edges: from a task to the one whose artifact it takes.
    tasks: more of a task."""
    made = {
        "schemaVersion": "2.1.0",
        "defaultPipelineRoot": "minio://b/root",
        "root": {"dag": {"tasks": {}}},
        "components": {},
        "deploymentSpec": {"executors": {}},
    }
    for name, code in codes.items():
        task: dict[str, Any] = {
            "componentRef": {"name": name},
            "cachingOptions": {"enableCache": True},
            "inputs": {"parameters": {"n": {"runtimeValue": {"constant": 3.0}}}},
        }
        component: dict[str, Any] = {
            "executorLabel": name,
            "outputDefinitions": {"artifacts": {"out": {"artifactType": SCHEMA}}},
        }
        if name in edges:
            source = {"producerTask": edges[name], "outputArtifactKey": "out"}
            task["inputs"]["artifacts"] = {"given": {"taskOutputArtifact": source}}
        made["root"]["dag"]["tasks"][name] = task | tasks.get(name, {})
        made["components"][name] = component
        made["deploymentSpec"]["executors"][name] = container(code)
    return made


def seen(ended: Any, output: str = "out") -> dict[str, Any]:
    """What a task was given."""
    return dict(json.loads(ended.outputs.artifacts[output].metadata["seen"]))


def states(ended: dict[str, Any]) -> dict[str, str]:
    return {task: str(each.state) for task, each in ended.items()}


CHAIN = ({"a": WRITE, "b": WRITE}, {"b": "a"})


def test_what_kubeflow_gives(tmp_path: Path) -> None:
    ended = LocalPlatform(spec(*CHAIN), tmp_path).run("1")
    given = seen(ended["b"])
    assert given["inputs"]["parameterValues"] == {"n": 3.0}
    (artifact,) = given["inputs"]["artifacts"]["given"]["artifacts"]
    assert artifact["name"] == "1"
    assert artifact["uri"] == "minio://b/root/1/a/out"
    assert artifact["type"] == {"instanceSchema": ""}
    assert artifact["metadata"]["display_name"] == "given"
    (output,) = given["outputs"]["artifacts"]["out"]["artifacts"]
    assert output["type"] == SCHEMA
    assert output["uri"] == "minio://b/root/1/b/out"
    assert (tmp_path / "minio/b/root/1/b").is_dir()
    assert Path(given["outputs"]["outputFile"]).is_relative_to(tmp_path)


def test_what_vertex_gives(tmp_path: Path) -> None:
    job = {"pipelineSpec": spec(*CHAIN) | {"defaultPipelineRoot": str(tmp_path / "gcs")}}
    ended = LocalPlatform(job, tmp_path / "here").run("1")
    (artifact,) = seen(ended["b"])["inputs"]["artifacts"]["given"]["artifacts"]
    assert artifact["name"].startswith("projects/")
    assert artifact["type"] == SCHEMA
    assert artifact["uri"] == f"{tmp_path}/gcs/1/a/out"
    assert seen(ended["b"])["outputs"]["outputFile"].startswith(f"{tmp_path}/gcs/1/b/")


def test_the_environment_of_the_specification(tmp_path: Path) -> None:
    code = "import os; open('said', 'w').write(os.environ['OWN'])\n" + textwrap.dedent(WRITE)
    made = spec({"a": code}, {})
    made["deploymentSpec"]["executors"]["a"]["container"]["env"] = [{"name": "OWN", "value": "x"}]
    ended = LocalPlatform(made, tmp_path).run("1")
    assert (ended["a"].log.parent / "said").read_text() == "x"


def test_a_failure_stops_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    codes = {"a": "raise SystemExit('broken')", "b": WRITE, "c": WRITE, "d": WRITE}
    made = spec(codes, {"b": "a", "c": "b"})
    ended = LocalPlatform(made, tmp_path).run("1")
    assert states(ended) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "done"}
    assert "broken" in ended["a"].log.read_text()


def test_a_task_has_as_many_attempts_as_its_policy(tmp_path: Path) -> None:
    code = "open('tries', 'a').write('x')\nif len(open('tries').read()) < 3: raise SystemExit(1)\n"
    made = spec({"a": code + textwrap.dedent(WRITE)}, {})
    assert states(LocalPlatform(made, tmp_path / "1").run("1")) == {"a": "failed"}
    made["root"]["dag"]["tasks"]["a"]["retryPolicy"] = {"maxRetryCount": 2}
    assert states(LocalPlatform(made, tmp_path / "2").run("1")) == {"a": "done"}


def test_the_cache_knows_tasks_again(tmp_path: Path) -> None:
    made = spec(*CHAIN)
    first = LocalPlatform(made, tmp_path).run("1")
    again = LocalPlatform(made, tmp_path).run("2")
    assert states(again) == {"a": "cached", "b": "cached"}
    assert again["b"].outputs == first["b"].outputs


@pytest.mark.parametrize("change", ["value", "image", "code", "output"])
def test_the_cache_does_not_know_what_is_another(tmp_path: Path, change: str) -> None:
    made = spec(*CHAIN)
    LocalPlatform(made, tmp_path).run("1")
    if change == "value":
        parameters = made["root"]["dag"]["tasks"]["a"]["inputs"]["parameters"]
        parameters["n"] = {"runtimeValue": {"constant": 4.0}}
    elif change == "output":
        outputs = made["components"]["a"]["outputDefinitions"]["artifacts"]
        outputs["more"] = {"artifactType": SCHEMA}
    else:
        executor = made["deploymentSpec"]["executors"]["a"]["container"]
        executor |= {"image": "j"} if change == "image" else {"args": ["{{$}}", "more"]}
    again = LocalPlatform(made, tmp_path).run("2")
    assert states(again) == {"a": "done", "b": "done"}, "what takes another input is another task"


def test_what_looks_is_never_cached_and_a_failure_never(tmp_path: Path) -> None:
    looks = {"cachingOptions": {"enableCache": False}}
    made = spec({"a": WRITE, "b": "raise SystemExit(1)"}, {}, a=looks)
    for run in ("1", "2"):
        ended = LocalPlatform(made, tmp_path).run(run)
        assert states(ended) == {"a": "done", "b": "failed"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "report['artifacts']['other'] = report['artifacts']['out']",
            r"outputs that it has not \(other\)",
        ),
        ("report['parameterValues']['other'] = 1", r"outputs that it has not \(other\)"),
        ("report['artifacts']['out']['artifacts'][0]['metadata']['x'] = None", "no value for x"),
    ],
    ids=["artifact", "value", "null"],
)
def test_reports_are_read_strictly(tmp_path: Path, code: str, message: str) -> None:
    head, line, tail = textwrap.dedent(WRITE).partition("os.makedirs")
    made = spec({"a": f"{head}{code}\n{line}{tail}"}, {})
    ended = LocalPlatform(made, tmp_path).run("1")
    assert states(ended) == {"a": "failed"}
    assert re.search(message, ended["a"].log.read_text())


def test_a_task_that_reports_nothing_has_failed(tmp_path: Path) -> None:
    """And stops nothing that does not depend on it."""
    ended = LocalPlatform(spec({"a": "pass", "b": WRITE}, {}), tmp_path).run("1")
    assert states(ended) == {"a": "failed", "b": "done"}


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunError, match="another run is under way"):
        LocalPlatform(spec(*CHAIN), tmp_path).run("1")


def test_values_go_from_task_to_task_and_from_the_run(tmp_path: Path) -> None:
    answer = {"taskOutputParameter": {"producerTask": "a", "outputParameterKey": "answer"}}
    inputs = {"parameters": {"answer": answer, "own": {"componentInputParameter": "own"}}}
    made = spec(*CHAIN, b={"inputs": inputs, "dependentTasks": ["a"]})
    made["components"]["a"]["outputDefinitions"]["parameters"] = {
        "answer": {"parameterType": "STRING"}
    }
    made["root"]["inputDefinitions"] = {"parameters": {"own": {"defaultValue": 1.0}}}
    platform = LocalPlatform(made, tmp_path)
    given = seen(platform.run("1")["b"])["inputs"]["parameterValues"]
    assert given == {"answer": "a value", "own": 1.0}
    again = platform.run("2", {"own": 2.0})
    assert states(again) == {"a": "cached", "b": "done"}
    assert seen(again["b"])["inputs"]["parameterValues"]["own"] == 2.0


@pytest.mark.parametrize("reimport", [True, False])
def test_what_is_imported(tmp_path: Path, reimport: bool) -> None:
    made = spec(*CHAIN)
    made["deploymentSpec"]["executors"]["a"] = {
        "importer": {"artifactUri": {"runtimeParameter": "uri"}, "reimport": reimport}
    }
    made["root"]["inputDefinitions"] = {"parameters": {"data": {"defaultValue": "s3://b/data"}}}
    parameters = {"uri": {"componentInputParameter": "data"}}
    made["root"]["dag"]["tasks"]["a"]["inputs"] = {"parameters": parameters}
    platform = LocalPlatform(made, tmp_path)
    (artifact,) = seen(platform.run("1")["b"])["inputs"]["artifacts"]["given"]["artifacts"]
    assert artifact["uri"] == "s3://b/data"
    again = platform.run("2")
    assert again["b"].state is (TaskState.DONE if reimport else TaskState.CACHED)
    assert platform.run("3", {"data": "s3://b/other"})["b"].state is TaskState.DONE


@pytest.mark.parametrize("content", [{}, {"schemaVersion": "2.0.0", "root": {}}, {"a": 1}])
def test_what_is_no_compiled_pipeline(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected a pipeline that `gauntlet compile` wrote"):
        LocalPlatform(content, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a": 1}', "{", "-5"])
@pytest.mark.parametrize("file", ["cache.json", "artifacts.count"])
def test_damaged_metadata_are_named(tmp_path: Path, file: str, text: str) -> None:
    platform = LocalPlatform(spec({"A": WRITE}, {}), tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(RunError, match=r"is damaged; remove both and .*runs"):
        platform.run("1")


def test_a_lost_count_gives_no_number_twice(tmp_path: Path) -> None:
    """The number of an input is what the cache knows it by."""
    made = spec({"A": WRITE, "B": WRITE}, {"B": "A"}, A={"cachingOptions": {"enableCache": False}})
    for run in ("1", "2", "3"):
        (tmp_path / "artifacts.count").unlink(missing_ok=True)
        ended = LocalPlatform(made, tmp_path).run(run)
        assert ended["B"].state is TaskState.DONE, f"run {run}"


@pytest.mark.parametrize("command", [["no-such-program"], ["python", "-c", 200_000 * "#"]])
def test_a_command_that_cannot_be_run_fails_its_task_alone(
    tmp_path: Path, command: list[str]
) -> None:
    made = spec({"A": WRITE, "C": WRITE}, {})
    made["deploymentSpec"]["executors"]["A"]["container"]["command"] = command
    ended = LocalPlatform(made, tmp_path).run("1")
    assert (ended["A"].state, ended["C"].state) == (TaskState.FAILED, TaskState.DONE)
    assert ended["A"].log is not None
    assert "cannot be run" in ended["A"].log.read_text()


def test_a_report_of_other_bytes_fails_its_task_alone(tmp_path: Path) -> None:
    code = WRITE + "\n    open(outputs['outputFile'], 'wb').write(bytes(range(256)))\n"
    ended = LocalPlatform(spec({"A": code, "C": WRITE}, {}), tmp_path).run("1")
    assert (ended["A"].state, ended["C"].state) == (TaskState.FAILED, TaskState.DONE)
