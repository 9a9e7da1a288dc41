"""The cpu image in a real daemon: built, and run without network, rights and a writable disk; whole
pipelines in it too."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.types import Mount
from docker_daemon import Built
from gauntlet_kubeflow.docker import USER, Container, Containers, open_to_all, run_container
from kfp import components, local
from kfp.local import executor_output_utils
from rehearsal import (
    Local,
    Outcome,
    check_same_model,
    compiled,
    local_run,
    newest_summary,
    shared_folder,
    submitted,
)

from components.datasets.prepare import prepare
from foundation.environment import ENVIRONMENT

pytestmark = pytest.mark.docker

STRICT = ("--rm", "--init", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", USER)


def said(built: Built, program: str, *arguments: str) -> str:
    """What a program in the image prints; it must end well."""
    done = built.docker("run", *STRICT, "--entrypoint", program, built.image, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def here(docker_image: Built) -> Iterator[Built]:
    """The daemon, for what calls Docker in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("PATH", "DOCKER_HOST"):
            monkeypatch.setenv(name, docker_image.environment[name])
        yield docker_image


def test_the_image_says_what_it_is(docker_image: Built) -> None:
    (what,) = json.loads(docker_image.docker("image", "inspect", docker_image.image).stdout)
    config = what["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] is None
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["title"] == "Gauntlet"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["name"] == docker_image.base
    assert len(labels["revision"].removesuffix("-dirty")) == 40
    assert dict(entry.split("=", 1) for entry in config["Env"]).items() >= ENVIRONMENT.items()
    assert what["Size"] < 4e9


def test_it_starts_as_nobody_without_network_and_disk(docker_image: Built) -> None:
    assert "Usage: gauntlet" in said(docker_image, "gauntlet", "--help")
    script = (
        "id -u; echo $HOME; touch $HOME/written && echo home; touch /root-is-open 2>/dev/null;"
        "touch /opt/gauntlet/open 2>/dev/null; ls /root-is-open /opt/gauntlet/open 2>/dev/null;"
        "cat /sys/class/net/*/address | wc -l; id -un"
    )
    assert said(docker_image, "sh", "-c", script).split() == (
        ["65532", "/tmp", "home", "1", "gauntlet"]
    )


def test_it_has_neither_tools_nor_a_compiler(docker_image: Built) -> None:
    programs = "pytest mypy ruff uv lint-imports hadolint gcc g++ cc c++ make git"
    found = said(docker_image, "sh", "-c", f"for p in {programs}; do command -v $p; done; true")
    assert found == ""
    code = (
        "import importlib.util as u; "
        "print([m for m in ('pytest', 'mypy', 'uv', 'importlinter') if u.find_spec(m)])"
    )
    assert said(docker_image, "python", "-c", code) == "[]\n"


def test_it_has_exactly_the_lock(docker_image: Built) -> None:
    """And pip, for what a user adds."""
    code = (
        "import importlib.metadata as m, re; "
        "print('\\n'.join(re.sub('[-_.]+', '-', d.name).lower() + '==' + d.version"
        " for d in m.distributions()))"
    )
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text().splitlines()
    locked = {line.split()[0] for line in lock if line[:1].isalnum()}
    installed = set(said(docker_image, "python", "-c", code).split())
    assert locked <= installed
    assert {each.partition("==")[0] for each in installed - locked} <= (
        {"gauntlet-tfx", "pip", "setuptools"}
    )


def test_the_entry_point_starts_and_refuses_in_one_line(here: Built, tmp_path: Path) -> None:
    container = {"image": here.image}
    command = ["python", "-m", "gauntlet_kubeflow.entry", "--files=launcher"]
    task = tmp_path / "task"
    task.mkdir()
    assert Containers().run(container, command, tmp_path, task / "log.txt") == 2
    assert (
        "the following arguments are required: --executor_class_path"
        in ((task / "log.txt").read_text().splitlines()[-1])
    )


def test_a_task_writes_into_its_store_and_tells_its_code(here: Built, tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    script = f"echo $X >/minio/a && echo told >{task}/report; touch /s3/b /gcs/c; exit 7"
    container = {"image": here.image, "env": [{"name": "X", "value": "1 2"}]}
    assert Containers().run(container, ["sh", "-c", script], tmp_path, task / "log.txt") == 7
    assert (tmp_path / "minio/a").read_text() == "1 2\n"
    assert (tmp_path / "minio/a").stat().st_uid == 65532
    assert (task / "report").read_text() == "told\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_killed_executor_leaves_no_container(
    here: Built, tmp_path: Path, how: signal.Signals
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from gauntlet_kubeflow.docker import Container, run_container\n"
        f"what = Container(image={here.image!r}, command=['sleep', '600'])\n"
        f"run_container(what, Path({str(tmp_path / 'log')!r}))"
    )
    executor = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    assert within(60, lambda: here.docker("ps", "--quiet").stdout != "")
    executor.send_signal(how)
    executor.wait(30)
    assert within(30, lambda: here.docker("ps", "--all", "--quiet").stdout == "")


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.2)
    return False


def test_a_network_and_a_schema_are_added_in_three_lines(here: Built, tmp_path: Path) -> None:
    """The example of the documents, built unchanged beside the files that it names."""
    document = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text()
    example = document.partition("```dockerfile\n")[2].partition("```")[0]
    assert len(example.splitlines()) == 3
    (tmp_path / "Dockerfile").write_text(example)
    (tmp_path / "networks.py").write_text("def small(image_shape, classes): ...\n")
    (tmp_path / "flowers.pbtxt").write_text('feature { name: "image" }\n')
    assert example.startswith(f"FROM {here.image}\n")
    done = here.docker("build", "--tag", "own", str(tmp_path))
    assert done.returncode == 0, done.stderr
    code = "import networks; from components.schema import schema_text as s; print(s('flowers'))"
    log = tmp_path / "log"
    assert run_container(Container(image="own", command=["python", "-c", code]), log) == 0
    assert 'name: "image"' in log.read_text()


@pytest.fixture
def values_beside_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that a task says is an artifact and a parameter of one name. Kubeflow keeps both,
    `kfp.local` the artifact alone, and then hands that over where the value is asked for."""
    merged = executor_output_utils.get_outputs_from_executor_output

    def both(*, executor_output: Any, **rest: Any) -> dict[str, Any]:
        outputs = merged(executor_output=executor_output, **rest)
        said = executor_output.parameter_values.items()
        return outputs | {
            name: executor_output_utils.pb2_value_to_python(value) for name, value in said
        }

    monkeypatch.setattr(executor_output_utils, "get_outputs_from_executor_output", both)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Folders that the user of the containers may write to; `data` has what is to be learnt."""
    made = {name: tmp_path / name for name in ("root", "store", "data")}
    for folder in made.values():
        folder.mkdir()
    prepared = Path(prepare("mnist", None).directory)
    shutil.copytree(prepared, made["data"] / "mnist" / prepared.name)
    open_to_all(tmp_path)
    return made


@dataclass(frozen=True)
class Rehearsal:
    """A run under way, each task in its container; and the local run with which it is compared."""

    local: Local
    root: Path
    outcome: Future[Outcome]


@pytest.fixture(scope="module")
def rehearsal(here: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Begun here, so that it goes on beside Kubeflow's own runner."""
    folder = tmp_path_factory.mktemp("rehearsal")
    alone = local_run(shared_folder(tmp_path_factory))
    root = folder / "cluster"
    shutil.copytree(alone.data, root / "minio" / "bucket" / "mnist")
    file = compiled(
        folder / "pipeline.yaml", "--target", "kfp-v2", "--image", here.image,
        "--pipeline-root", "minio://bucket/f", "--volume", "models:/mnt/gauntlet",
        "--data-uri", "minio://bucket/mnist", "--data-fingerprint", alone.fingerprint,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        yield Rehearsal(alone, root, pool.submit(submitted, file, root, "--docker"))


@pytest.mark.usefixtures("values_beside_artifacts", "rehearsal")
def test_kubeflows_own_runner_comes_to_a_pushed_model(here: Built, places: dict[str, Path]) -> None:
    """A second opinion: Kubeflow's own local runner, which is no code of ours, runs the file.

    It makes the graph, the input of each task and the placeholders by itself. It hands over inputs
    without their own types, ignores the environment of a specification, and knows neither retries
    nor a cache. An importer's output is `artifact` to it, whatever the specification says, so the
    data lies where a container would fetch it to.
    """
    file = compiled(
        places["root"] / "pipeline.yaml", "--target", "kfp-v2", "--image", here.image,
        "--pipeline-root", "minio://bucket/f", "--volume", f"models:{places['store']}",
    )  # fmt: skip
    runner = local.DockerRunner(
        network_mode="none", read_only=True, tmpfs={"/tmp": ""}, user=USER, init=True,
        environment={"CUDA_VISIBLE_DEVICES": "-1"},
        mounts=[
            Mount(str(places["store"]), str(places["store"]), type="bind"),
            Mount("/tmp/tensorflow_datasets", str(places["data"]), type="bind"),
        ],
    )  # fmt: skip
    local.init(runner, pipeline_root=str(places["root"]), raise_on_error=True)
    components.load_component_from_file(str(file))()
    (version,) = (places["store"] / "gauntlet" / "serving").glob("[0-9]*")
    assert (version / "saved_model.pb").is_file()


def test_a_specification_comes_to_the_model_of_a_local_run(rehearsal: Rehearsal) -> None:
    outcome = rehearsal.outcome.result()
    assert outcome.code == 0, outcome.text
    assert set(outcome.states.values()) == {"finished"}
    (version,) = (rehearsal.root / "volumes" / "models" / "gauntlet" / "serving").glob("[0-9]*")
    summary = newest_summary(rehearsal.root / "minio/bucket/f/artifacts")
    assert summary["pushed"] == f"/mnt/gauntlet/gauntlet/serving/{version.name}"
    check_same_model(rehearsal.local, summary, version)
