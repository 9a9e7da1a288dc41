"""A second opinion: Kubeflow's own local runner, which is no code of ours, runs the specification.

It makes the graph, the input of each task and the placeholders by itself, in containers without
network. It hands over inputs without their own types, ignores the environment of a specification,
and takes neither retries nor a cache.
"""

from pathlib import Path

import pytest
import yaml
from docker.types import Mount
from docker_daemon import Built
from gauntlet_kubeflow.docker import USER
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.target import Target
from kfp import components, local

from components.datasets.prepare import prepare
from pipeline.definition.presets import preset

pytestmark = pytest.mark.docker


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Folders that the user of the containers may write to."""
    made = {name: tmp_path / name for name in ("root", "store")}
    for folder in made.values():
        folder.mkdir()
        folder.chmod(0o777)
    return made


def compiled(image: str, places: dict[str, Path], data: Path) -> str:
    """The smoke preset for Kubeflow, as YAML."""
    from gauntlet_kubeflow.compile import compile_pipeline

    request = Compilation(
        config=preset("smoke"),
        target=Target.KFP_V2,
        image=image,
        pipeline_root=str(places["root"]),
        store=str(places["store"]),
        data_uri=str(data),
    )
    spec = compile_pipeline(request)
    spec.pop("platforms", None)  # what is said to Kubernetes only
    return yaml.safe_dump(spec)


def test_kubeflows_own_runner_comes_to_a_pushed_model(
    docker_image: Built, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_image.environment["DOCKER_HOST"])
    data = Path(prepare("mnist", None).directory)
    store = Mount(str(places["store"]), str(places["store"]), type="bind")
    prepared = Mount(str(data), str(data), type="bind", read_only=True)
    runner = local.DockerRunner(
        network_mode="none", read_only=True, tmpfs={"/tmp": ""}, user=USER, init=True,
        environment={"CUDA_VISIBLE_DEVICES": "-1"}, mounts=[store, prepared],
    )  # fmt: skip
    local.init(runner, pipeline_root=str(places["root"]), raise_on_error=True)
    components.load_component_from_text(compiled(docker_image.image, places, data))()
    assert (places["store"] / "serving" / "1" / "saved_model.pb").is_file()
