"""What is foretold of a run is what the run then does, node by node."""

import shutil
from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Examples, ModelBlessing
from tiny_pipeline import tiny_pipeline, tiny_run

from pipeline.local.forecast import forecast
from pipeline.local.orchestrator import Orchestrator
from pipeline.local.plan import NodeForecast
from pipeline.local.reasons import Reasons
from pipeline.local.runner import run_pipeline
from pipeline.root.root import Root


class NoReasons(Reasons):
    """The tiny pipeline has no configuration."""

    def __init__(self) -> None:
        pass

    def _of_run(self, run_id: str) -> dict[str, list[str]]:
        return {}


def foretold(root: Root, folder: Path, **settings: int) -> dict[str, NodeForecast]:
    folder.mkdir()
    metadata = root.copied_metadata(folder / "metadata.sqlite")
    pipeline = tiny_pipeline(folder / "artifacts", metadata, **settings)
    return forecast(pipeline, "dry", NoReasons(), rival=False)


def files(root: Root) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in root.folder.rglob("*")}


CHANGES = [
    {},
    {"setting": 1},
    {"version": 1},
    {"good": 1},
    {"setting": 1, "good": 1},
]


@pytest.mark.parametrize("settings", CHANGES, ids=str)
def test_the_run_does_what_was_foretold_and_nothing_before_it(
    settings: dict[str, int], tmp_path: Path
) -> None:
    root = Root(tmp_path / "root")
    tiny_run(root, "run-1")
    before = files(root)
    told = foretold(root, tmp_path / "dry", **settings)
    assert files(root) == before
    assert {name for name, node in told.items() if not node.cached} == tiny_run(
        root, "run-2", **settings
    )
    assert all(node.seconds is not None for node in told.values())


def test_a_root_that_is_not_there_yet_stays_so(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    told = foretold(root, tmp_path / "dry")
    assert not root.folder.exists()
    assert {node.why for node in told.values()} == {
        "it never ran here",
        "computed again before it: Data",
        "computed again before it: Train",
    }
    assert {node.seconds for node in told.values()} == {None}


def test_the_reasons(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    told = foretold(root, tmp_path / "dry-1", setting=3)
    assert told["Train"].why == "its parameters changed: setting"
    assert told["Judge"].why == "computed again before it: Train"
    assert foretold(root, tmp_path / "dry-2", setting=1)["Train"].cached
    for folder in root.artifacts.glob("Train/model/*"):
        shutil.rmtree(folder)
    told = foretold(root, tmp_path / "dry-3", setting=2)
    assert told["Train"].why == "what it wrote last time is not there any more"
    assert told["Data"].cached


def test_another_input_from_the_cache_is_a_reason(tmp_path: Path) -> None:
    """The model of before comes from the cache; that it was judged so never was."""
    root = Root(tmp_path / "root")
    tiny_run(root, "run-1", setting=1, good=1)
    tiny_run(root, "run-2", setting=2, good=0)
    told = foretold(root, tmp_path / "dry", setting=1, good=0)
    assert told["Train"].cached
    assert told["Judge"].why == "another input than last time: model"
    assert tiny_run(root, "run-3", setting=1, good=0) == {"Judge"}


@component
def Challenge(
    champion: Parameter[int], seed: Parameter[int], challenged_examples: OutputArtifact[Examples]
) -> None:
    challenged_examples.split_names = '["test"]' if champion else "[]"


@component
def Rate(
    challenged_examples: InputArtifact[Examples], blessing: OutputArtifact[ModelBlessing]
) -> None:
    pass


def challenge(root: Root, champion: bool, seed: int) -> Pipeline:
    first = Challenge(champion=int(champion), seed=seed)
    return Pipeline(
        pipeline_name="gauntlet",
        pipeline_root=str(root.artifacts),
        components=[first, Rate(challenged_examples=first.outputs["challenged_examples"])],
        enable_cache=True,
        metadata_connection_config=root.connection,
    )


@pytest.mark.parametrize("now", [True, False])
@pytest.mark.parametrize("then", [True, False])
def test_the_time_with_another_work_is_not_foretold(then: bool, now: bool, tmp_path: Path) -> None:
    """What met no champion took no time: no word on how long it takes to meet one."""
    root = Root(tmp_path)
    run_pipeline(challenge(root, then, seed=0), Orchestrator.LOCAL, "run-1")
    told = forecast(challenge(root, now, seed=1), "dry", NoReasons(), rival=now)
    assert [node.cached for node in told.values()] == [False, False]
    assert [node.seconds is not None for node in told.values()] == [then == now] * 2
