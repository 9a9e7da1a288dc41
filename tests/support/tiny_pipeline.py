"""A pipeline of three nodes as TFX runs it on a root, in a second: data, a model of a setting, and
the blessing of that model."""

import os
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing

from components.pusher import publish
from components.versions import Card
from pipeline.local.orchestrator import Orchestrator
from pipeline.local.runner import run_pipeline
from pipeline.root.root import Root

MODEL = "Format-Serving/saved_model.pb"


def write(folder: str, name: str, content: str) -> None:
    file = Path(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@component
def Data(version: Parameter[int], examples: OutputArtifact[Examples]) -> None:
    write(examples.uri, "data", str(version))


@component
def Train(
    examples: InputArtifact[Examples], setting: Parameter[int], model: OutputArtifact[Model]
) -> None:
    write(model.uri, MODEL, f"{setting} on {Path(examples.uri, 'data').read_text()}")


@component
def Judge(
    model: InputArtifact[Model], good: Parameter[int], blessing: OutputArtifact[ModelBlessing]
) -> None:
    write(blessing.uri, "gates.json", "[]")
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property("blessed", good)


def tiny_run(
    root: Root, run_id: str, setting: int = 0, version: int = 0, good: int = 0
) -> set[str]:
    """Run it; returns the nodes that were computed and not taken from the cache. Leaves results as
    a run does."""
    pipeline = tiny_pipeline(root.artifacts, root.connection, setting, version, good)
    root.folder.mkdir(parents=True, exist_ok=True)
    nodes = run_pipeline(pipeline, Orchestrator.LOCAL, run_id)
    for name in ("config.json", "schema.pbtxt", "log.txt", "attacked.png", "summary.json"):
        write(str(root.results(run_id)), name, run_id)
    return {name for name, node in nodes.items() if not node.cached}


def tiny_pipeline(
    artifacts: Path, connection: Any, setting: int = 0, version: int = 0, good: int = 0
) -> Pipeline:
    """The pipeline, which writes into a folder and into the metadata of a connection."""
    data = Data(version=version)
    train = Train(examples=data.outputs["examples"], setting=setting)
    judge = Judge(model=train.outputs["model"], good=good)
    return Pipeline(
        pipeline_name="gauntlet",
        pipeline_root=str(artifacts),
        components=[data, train, judge],
        enable_cache=True,
        metadata_connection_config=connection,
    )


def models(root: Root) -> list[str]:
    """What the models say that are there."""
    return sorted(file.read_text() for file in root.artifacts.glob(f"Train/model/*/{MODEL}"))


def push(root: Root, run_id: str) -> str:
    """Push the newest model; returns the version."""
    with root.metadata() as store:
        model = max(store.get_artifacts_by_type("Model"), key=lambda each: each.id)
    card = Card(model=model.uri, model_id=model.id, run_id=run_id)
    return publish(os.path.join(model.uri, "Format-Serving"), str(root.serving), card)
