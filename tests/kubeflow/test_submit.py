"""`gauntlet submit` before a platform is asked: the file and the options; and the local target."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from compiled_files import PLATFORMS, kfp_file, spec, vertex_file

from gauntlet.cli import main

NOBODY = ("--host", "http://127.0.0.1:1")
PLACES = ("--project", "p", "--region", "r", "--api-endpoint", "http://127.0.0.1:1")


def submit(file: Path, target: str, *options: str) -> Result:
    arguments = ["submit", str(file), "--target", target, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


@pytest.mark.parametrize("command", ["submit", "deploy"])
def test_help_is_quick_and_imports_no_client(command: str) -> None:
    clients = ("kfp", "kfp_server_api", "google.auth", "yaml", "pydantic", "etils")
    code = (
        f"import sys; from gauntlet.cli import main\ntry: main(['{command}', '--help'])\n"
        f"except SystemExit: pass\nprint(*[m for m in {clients} if m in sys.modules])"
    )
    seconds = []
    for _ in range(5):
        before = computed()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(computed() - before)
        assert done.stdout.splitlines()[-1] == ""
    assert min(seconds) < 0.3


def computed() -> float:
    """Seconds that our children have computed: others may use the machine too."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file "),
        ("a: [", "is neither JSON nor YAML: "),
        ("{", "is no JSON: "),
        (b"\xff\xfe", "is no JSON: "),
        ("", "holds no compiled pipeline"),
        ("hello", "holds no compiled pipeline"),
        ("- 1", "holds no compiled pipeline"),
        ("{}", "holds no compiled pipeline"),
        ('{"pipelineSpec": {}, "runtimeConfig": {"gcsOutputDirectory": "g"}}', "holds no compiled"),
        ("schemaVersion: 2.1.0\nroot: {}\ndefaultPipelineRoot: g", "holds no compiled pipeline"),
        ("schemaVersion: 2.1.0\nroot: 3\ndefaultPipelineRoot: g", "holds no compiled pipeline"),
        (yaml.safe_dump_all([spec(), {"x": 1}]), "holds no compiled pipeline"),
        (yaml.safe_dump_all([spec(), PLATFORMS, PLATFORMS]), "holds no compiled pipeline"),
    ],
)
@pytest.mark.parametrize("target", ["kfp-v2", "vertex", "local"])
def test_a_file_that_is_no_pipeline(
    tmp_path: Path, content: str | bytes | None, message: str, target: str
) -> None:
    file = tmp_path / "pipeline.yaml"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    done = submit(file, target)
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    assert str(file) in line
    assert message in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dependentTasks": ["Verdict"]}, "the tasks go in a circle"),
        ({"dependentTasks": ["Z"]}, "there is no task Z"),
        ({"componentRef": {"name": "Z"}}, "the task Trainer-robust is not complete: KeyError('Z')"),
        ({"retryPolicy": {"maxRetryCount": -1}}, "maxRetryCount=-1"),
        ({"inputs": {"parameters": {"a": {}}}}, "not complete: KeyError('runtimeValue')"),
        ({"inputs": {"parameters": {"a": {"componentInputParameter": "z"}}}}, "KeyError('z')"),
        (
            {"inputs": {"artifacts": {"a": {"taskOutputArtifact": {
                "producerTask": "TfdsExampleGen", "outputArtifactKey": "z"}}}}},
            "not complete: KeyError",
        ),
        (None, "holds no compiled pipeline"),
        ([1], "holds no compiled pipeline"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["kfp-v2", "local"])
def test_a_file_that_somebody_changed(
    tmp_path: Path, change: Any, message: str, target: str
) -> None:
    changed = spec()
    tasks = changed["root"]["dag"]["tasks"]
    tasks["Trainer-robust"] = (
        tasks["Trainer-robust"] | change if isinstance(change, dict) else change
    )
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(changed))
    done = submit(file, target)
    assert done.exit_code == 2, done.output
    assert message in done.output


def test_a_task_that_would_lie_elsewhere(tmp_path: Path) -> None:
    changed = spec()
    changed["root"]["dag"]["tasks"]["../../esc"] = changed["root"]["dag"]["tasks"]["Verdict"]
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(changed))
    done = submit(file, "local", "--root", str(tmp_path / "a" / "b"))
    assert done.exit_code == 2
    assert "the name of the task '../../esc' is none" in done.output


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    done = submit(tmp_path, "kfp-v2")
    assert done.exit_code == 2
    assert f"{tmp_path} cannot be read: Is a directory" in done.output


@pytest.mark.parametrize(
    ("write", "compiled", "target", "options"),
    [(kfp_file, "kfp-v2", "vertex", PLACES), (vertex_file, "vertex", "kfp-v2", NOBODY)],
)
def test_a_file_for_the_other_target(
    tmp_path: Path, write: Any, compiled: str, target: str, options: tuple[str, ...]
) -> None:
    done = submit(file := write(tmp_path), target, *options)
    assert done.exit_code == 2
    assert f"{file} was compiled for {compiled}, not for {target}; submit it with" in done.output


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("kfp-v2", ("--project", "p"), "--project is for --target vertex, not for kfp-v2"),
        ("kfp-v2", ("--root", "r"), "--root is for --target local, not for kfp-v2"),
        ("vertex", ("--token", "t"), "--token is for --target kfp-v2, not for vertex"),
        ("local", ("--host", "h"), "--host is for --target kfp-v2, not for local"),
        (
            "local",
            ("--pipeline-root", "g"),
            "--pipeline-root is for --target kfp-v2 or vertex, not for local",
        ),
        ("kfp-v2", ("--timeout", "3"), "--timeout bounds the time of --wait, which is not given"),
    ],
)
def test_options_of_another_target_are_refused(
    tmp_path: Path, target: str, options: tuple[str, ...], message: str
) -> None:
    done = submit(
        kfp_file(tmp_path) if target != "vertex" else vertex_file(tmp_path), target, *options
    )
    assert done.exit_code == 2
    assert message in done.output


def test_the_environment_may_name_what_another_target_needs(tmp_path: Path) -> None:
    arguments = ["submit", str(kfp_file(tmp_path)), "--target", "kfp-v2"]
    done = CliRunner().invoke(main, arguments, env={"GOOGLE_CLOUD_PROJECT": "p"})
    assert "--host names no service" in done.output


@pytest.mark.parametrize(("write", "target"), [(kfp_file, "kfp-v2"), (vertex_file, "vertex")])
def test_a_run_that_hides_a_refusal_cannot_be_waited_for(
    tmp_path: Path, write: Any, target: str
) -> None:
    done = submit(write(tmp_path, refusal_fails=False), target, "--wait")
    assert done.exit_code == 2
    assert "was compiled so that the run succeeds when the model is refused" in done.output


def test_so_is_one_without_a_verdict(tmp_path: Path) -> None:
    bare = spec()
    del bare["root"]["dag"]["tasks"]["Verdict"]
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(bare))
    assert submit(file, "kfp-v2", "--wait", *NOBODY).exit_code == 2


def test_a_wrong_parameter_is_wrong_usage(tmp_path: Path) -> None:
    done = submit(kfp_file(tmp_path), "kfp-v2", "--param", "thread.epsilon=1", *NOBODY)
    assert done.exit_code == 2
    assert "has no parameter 'thread_epsilon'" in done.output


@pytest.mark.parametrize(
    ("file", "target", "root"),
    [
        (kfp_file, "kfp-v2", "/mnt/x"),
        (kfp_file, "kfp-v2", "hdfs://b"),
        (vertex_file, "vertex", "s3://b"),
    ],
)
def test_a_root_that_is_in_no_store_is_wrong_usage(
    tmp_path: Path, file: Any, target: str, root: str
) -> None:
    done = submit(file(tmp_path), target, "--pipeline-root", root)
    assert done.exit_code == 2
    assert "--pipeline-root is at gs://" in done.output


def here(file: Path, folder: Path, *options: str) -> Result:
    """Run a file on this machine; its root is in the folder."""
    return submit(file, "local", "--root", str(folder / "root"), *options)


@pytest.mark.parametrize(
    ("codes", "code", "message"),
    [
        ({}, 0, "pushed"),
        ({"Verdict": 3}, 3, "refused: this model was not pushed"),
        ({"Verdict": 1}, 1, "task Verdict failed; its log: "),
        ({"Trainer-robust": 1}, 1, "task Trainer-robust failed; its log: {log}"),
        ({"Trainer-robust": 2}, 2, "task Trainer-robust failed; its log: {log}"),
    ],
    ids=["pushed", "refused", "undecided", "failed", "used wrongly"],
)
def test_the_local_target_ends_as_a_platform_does(
    tmp_path: Path, codes: dict[str, int], code: int, message: str
) -> None:
    done = here(kfp_file(tmp_path, codes=codes), tmp_path)
    assert done.exit_code == code, done.output
    (log,) = (tmp_path / "root" / "runs").glob("*/Trainer-robust/log.txt")
    assert message.format(log=log) in done.output
    assert "TfdsExampleGen           finished" in done.output
    lines = [line for line in done.output.splitlines() if line.startswith("Trainer-robust ")]
    assert lines[0].split()[1] == "started"
    assert lines[-1].split()[1] == ("failed" if "Trainer-robust" in codes else "finished")


def test_the_local_target_knows_tasks_again_unless_it_shall_not(tmp_path: Path) -> None:
    file = kfp_file(tmp_path)
    states = [
        [
            line.split()[1]
            for line in here(file, tmp_path, *options).output.splitlines()
            if line.split()[1] in ("finished", "cached")
        ]
        for options in ((), (), ("--no-cache",))
    ]
    assert states == [3 * ["finished"], 3 * ["cached"], 3 * ["finished"]]


def test_parameters_reach_the_local_target(tmp_path: Path) -> None:
    done = here(kfp_file(tmp_path), tmp_path, "--param", "seed=3")
    assert done.exit_code == 0, done.output
    (log,) = (tmp_path / "root" / "runs").glob("*/TfdsExampleGen/log.txt")
    assert log.read_text() == 'values {"seed": 3.0}\n'


def test_the_local_target_never_says_pushed_where_a_refusal_succeeds(tmp_path: Path) -> None:
    done = here(kfp_file(tmp_path, refusal_fails=False), tmp_path)
    assert done.exit_code == 0
    assert "summary.json says whether the model was pushed" in done.output
