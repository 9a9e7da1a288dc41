"""A second opinion: Kubeflow's own local runner, which is no code of ours, runs the specification.

It makes the graph, the input of each task and the placeholders by itself, in containers without
network. It hands over inputs without their own types, ignores the environment of a specification,
and knows neither retries nor a cache. An importer's output is `artifact` to it, whatever the
specification says, so the data lies where a container would fetch it to.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from docker.types import Mount
from docker_daemon import Built
from gauntlet_kubeflow.docker import USER, open_to_all
from kfp import components, local
from kfp.local import executor_output_utils
from rehearsal import compiled

from components.datasets.prepare import prepare

pytestmark = pytest.mark.docker


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


@pytest.mark.usefixtures("values_beside_artifacts")
def test_kubeflows_own_runner_comes_to_a_pushed_model(
    docker_image: Built, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_image.environment["DOCKER_HOST"])
    file = compiled(
        places["root"] / "pipeline.yaml", "--target", "kfp-v2", "--image", docker_image.image,
        "--pipeline-root", places["root"], "--store", places["store"],
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
    (version,) = (places["store"] / "serving").iterdir()
    assert (version / "saved_model.pb").is_file()
