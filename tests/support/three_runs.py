"""The root of three runs, without their work: metadata as TFX writes it, and pushed versions."""

import json
import os
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing, PushedModel

from components.pusher import publish
from components.versions import Card, list_versions
from pipeline.root.root import Root

RUNS = ("run-1", "run-2", "run-3")


def explained(name: str, value: float) -> dict[str, Any]:
    """A gate in `gates.json`, as the version before wrote it: without `images_against`."""
    return {
        "name": name, "passed": True, "value": value, "interval": [0.0, 1.0], "judged": 0.0,
        "op": ">=", "bound": 0.0, "images_to_change": None, "ids": [], "sentence": "",
    }  # fmt: skip


def gates_of(run: str) -> list[dict[str, Any]]:
    """What the gates measured of a run's model."""
    clean = 0.9 + int(run[-1]) / 100
    figures = {"clean": clean, "worst_case": 0.5, "certified": 0.4}
    return [explained(name, value) for name, value in figures.items()]


def three_runs(folder: Path) -> Root:
    """Three runs: the first two were blessed and pushed, the gates refused the third."""
    root = Root(folder)
    with root.metadata() as store:
        for name in ("pipeline_run", "node"):
            store.put_context_type(mlmd.ContextType(name=name))
        for run in RUNS:
            record(store, root, run, blessed=run != "run-3")
    for run in RUNS[:2]:
        model = model_of_run(root, run)
        figures = {gate["name"]: gate["value"] for gate in gates_of(run)}
        card = Card(model=model.uri, model_id=model.id, run_id=run, **figures)
        publish(f"{model.uri}/Format-Serving", str(root.serving), card)
    return root


def model_of_run(root: Root, run: str) -> mlmd.Artifact:
    """The model artifact that a run made."""
    with root.metadata() as store:
        (model,) = [a for a in store.get_artifacts_by_type("Model") if a.name == run]
    return model


def record(store: MetadataStore, root: Root, run: str, blessed: bool) -> None:
    """The artifacts and the metadata of one run, as TFX writes them."""
    folder = root.artifacts / run
    (folder / "model" / "Format-Serving").mkdir(parents=True)
    (folder / "model" / "Format-Serving" / "saved_model.pb").write_text(run)
    (folder / "blessing").mkdir()
    (folder / "blessing" / "gates.json").write_text(json.dumps(gates_of(run)))
    (run_context,) = store.put_contexts(
        [mlmd.Context(type_id=store.get_context_type("pipeline_run").id, name=run)]
    )
    outputs = (
        ("Trainer.robust", "model", Model),
        ("Evaluator", "blessing", ModelBlessing),
        ("ServingCheck", "blessing", InfraBlessing),
        ("Pusher", "pushed_model", PushedModel),
    )
    model_id = 0
    for node, key, kind in outputs:
        made = kind()
        made.uri, made.name = str(folder / key), run
        type_id = store.put_artifact_type(made.artifact_type, can_add_fields=True)
        entry = made.mlmd_artifact
        entry.type_id = type_id
        if node == "ServingCheck":
            entry.custom_properties["blessed"].int_value = 1
        if node == "Evaluator":
            entry.custom_properties["blessed"].int_value = int(blessed)
            entry.custom_properties["current_model_id"].int_value = model_id
            entry.custom_properties["refused_by"].string_value = (
                "" if blessed else "worst_case,square"
            )
        (artifact_id,) = store.put_artifacts([entry])
        model_id = model_id or artifact_id
        execution_type = store.put_execution_type(mlmd.ExecutionType(name=node))
        (execution,) = store.put_executions([mlmd.Execution(type_id=execution_type)])
        event = mlmd.Event(artifact_id=artifact_id, execution_id=execution, type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = key
        store.put_events([event])
        context_type = store.get_context_type("node").id
        name = f"gauntlet.{node}"
        known = store.get_context_by_type_and_name("node", name)
        node_context = (
            known.id
            if known
            else store.put_contexts([mlmd.Context(type_id=context_type, name=name)])[0]
        )
        links = [
            mlmd.Association(execution_id=execution, context_id=c)
            for c in (run_context, node_context)
        ]
        store.put_attributions_and_associations([], links)


def latest_blessed(root: Root) -> str:
    """The run whose model TFX's resolver calls the latest blessed one."""
    with root.metadata() as store:
        inputs = {}
        for key, name in (("model", "Model"), ("blessing", "ModelBlessing")):
            kind = store.get_artifact_type(name)
            inputs[key] = [
                artifact_utils.deserialize_artifact(kind, a)
                for a in store.get_artifacts_by_type(name)
            ]
        (found,) = LatestBlessedModelStrategy().resolve_artifacts(store, inputs)["model"]
    return os.path.basename(os.path.dirname(found.uri))


def served(root: Root) -> str:
    """The run whose model is served."""
    version = list_versions(str(root.serving))[-1].version
    return (root.serving / version / "saved_model.pb").read_text()
