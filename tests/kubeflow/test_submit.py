"""`gauntlet submit` before a platform is asked: the file and the options; and the local target."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from compiled_files import PLATFORMS, TASKS, kfp_file, spec, vertex_file
from gauntlet_kubeflow import local
from gauntlet_kubeflow.local import Ended, LocalKubeflow

from foundation.events import phase
from gauntlet.cli import main

NOBODY = ("--host", "http://127.0.0.1:1")
PLACES = ("--project", "p", "--region", "r", "--api-endpoint", "http://127.0.0.1:1")


def submit(file: Path, target: str, *options: str) -> Result:
    arguments = ["submit", str(file), "--target", target, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def test_help_is_quick_and_imports_no_client() -> None:
    code = (
        "import sys; from gauntlet.cli import main\ntry: main(['submit', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*[m for m in ('kfp', 'kfp_server_api', 'google.auth', 'yaml') if m in sys.modules])"
    )
    seconds = []
    for _ in range(5):
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(time.monotonic() - begin)
        assert done.stdout.splitlines()[-1] == ""
    assert min(seconds) < 0.3


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


def test_a_wrong_parameter_is_wrong_usage(tmp_path: Path, checked_parameters: None) -> None:
    done = submit(kfp_file(tmp_path), "kfp-v2", "--param", "thread.epsilon=1", *NOBODY)
    assert done.exit_code == 2
    assert "unknown parameter thread_epsilon" in done.output


def here(monkeypatch: pytest.MonkeyPatch, *states: str) -> list[Any]:
    """The local executor without its tasks, each of which ends in a state."""
    seen: list[Any] = []

    def run(self: LocalKubeflow, run_id: str) -> dict[str, Ended]:
        seen.append(self)
        ended = {}
        for name, state in zip(TASKS, states, strict=True):
            with phase(name) as step:
                step.state = {"done": "finished", "cached": "cached"}.get(state, "failed")  # type: ignore[assignment]
            ended[name] = Ended(state=local.State(state))
        return ended

    monkeypatch.setattr(LocalKubeflow, "run", run)
    return seen


@pytest.mark.parametrize(
    ("states", "code", "message"),
    [
        (("done", "cached", "done"), 0, "pushed"),
        (("done", "done", "failed"), 3, "refused: the gates refused the model"),
        (("done", "failed", "skipped"), 1, "task Trainer-robust failed; its log: "),
    ],
)
def test_the_local_target_ends_as_a_platform_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    states: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    here(monkeypatch, *states)
    done = submit(kfp_file(tmp_path), "local", "--root", str(tmp_path / "root"))
    assert done.exit_code == code, done.output
    assert message in done.output
    assert "TfdsExampleGen           finished" in done.output


def test_the_local_target_never_says_pushed_where_a_refusal_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, "done", "done", "done")
    file = kfp_file(tmp_path, refusal_fails=False)
    done = submit(file, "local", "--root", str(tmp_path / "root"))
    assert done.exit_code == 0
    assert "verdict.json says whether the model was pushed" in done.output
