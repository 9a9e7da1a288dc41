"""The life of a model after its push: listing, rollback, the forced push, and what TFX's resolver
makes of them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing

from components.pusher import publish
from components.versions import list_versions
from foundation.errors import ConfigError, RunError
from gauntlet.cli import main
from pipeline.production import changes as production
from pipeline.production.changes import force, rollback

RUNS = ("run-1", "run-2", "run-3")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs: the first two were blessed and pushed, the gates refused the third."""
    with production.metadata(tmp_path) as store:
        for name in ("run", "node"):
            store.put_context_type(mlmd.ContextType(name={"run": "pipeline_run"}.get(name, name)))
        for run in RUNS:
            record(store, tmp_path, run, blessed=run != "run-3")
    for number, run in enumerate(RUNS[:2], start=1):
        with production.metadata(tmp_path) as store:
            (model,) = [a for a in store.get_artifacts_by_type("Model") if a.name == run]
        card = {
            "model": model.uri,
            "model_id": model.id,
            "kind": "run",
            "run_id": run,
            "clean": 0.9 + number / 100,
        }
        publish(f"{model.uri}/Format-Serving", str(tmp_path / "serving"), card)
    return tmp_path


def record(store: MetadataStore, root: Path, run: str, blessed: bool) -> None:
    """The metadata of one run, as TFX writes it."""
    folder = root / "artifacts" / run
    (folder / "model" / "Format-Serving").mkdir(parents=True)
    (folder / "model" / "Format-Serving" / "saved_model.pb").write_text(run)
    (folder / "blessing").mkdir()
    gates = [
        {"name": "clean", "value": 0.9},
        {"name": "worst_case", "value": 0.5},
        {"name": "certified", "value": 0.4},
    ]
    (folder / "blessing" / "gates.json").write_text(json.dumps(gates))
    (run_context,) = store.put_contexts(
        [mlmd.Context(type_id=store.get_context_type("pipeline_run").id, name=run)]
    )
    outputs = (
        ("Trainer.robust", "model", Model),
        ("Evaluator", "blessing", ModelBlessing),
        ("ServingCheck", "blessing", InfraBlessing),
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


def champion(root: Path) -> str:
    """The run whose model TFX's resolver calls the latest blessed one."""
    with production.metadata(root) as store:
        inputs = {}
        for key, name in (("model", "Model"), ("blessing", "ModelBlessing")):
            kind = store.get_artifact_type(name)
            inputs[key] = [
                artifact_utils.deserialize_artifact(kind, a)
                for a in store.get_artifacts_by_type(name)
            ]
        (found,) = LatestBlessedModelStrategy().resolve_artifacts(store, inputs)["model"]
    return os.path.basename(os.path.dirname(found.uri))


def served(root: Path) -> str:
    """The run whose model is served."""
    version = list_versions(str(root / "serving"))[-1]["version"]
    return (root / "serving" / version / "saved_model.pb").read_text()


def test_versions_are_listed_with_their_numbers(root: Path) -> None:
    found = list_versions(str(root / "serving"))
    assert [(entry["run_id"], entry["clean"], entry["serving"]) for entry in found] == [
        ("run-1", 0.91, False), ("run-2", 0.92, True),
    ]  # fmt: skip


def test_rollback_serves_the_model_before_and_makes_it_the_champion(root: Path) -> None:
    assert (served(root), champion(root)) == ("run-2", "run-2")
    card = rollback(root, None, "too slow")
    assert (served(root), champion(root)) == ("run-1", "run-1")
    assert (card["kind"], card["of"], card["reason"], card["clean"]) == (
        "rollback", list_versions(str(root / "serving"))[0]["version"], "too slow", 0.91,
    )  # fmt: skip
    with production.metadata(root) as store:
        withdrawn = [
            a
            for a in store.get_artifacts_by_type("ModelBlessing")
            if "withdrawn" in a.custom_properties
        ]
    assert [a.name for a in withdrawn] == ["run-2"]
    note = json.loads(withdrawn[0].custom_properties["withdrawn"].string_value)
    assert note["reason"] == "too slow"
    assert note["by"]
    assert note["at"]


def test_rollback_to_a_version_goes_forward_again(root: Path) -> None:
    newest = list_versions(str(root / "serving"))[-1]["version"]
    rollback(root, None, "")
    rollback(root, newest, "it was not the model")
    assert (served(root), champion(root)) == ("run-2", "run-2")
    assert len(list_versions(str(root / "serving"))) == 4


def test_rollback_to_what_is_served_pushes_nothing(root: Path) -> None:
    newest = list_versions(str(root / "serving"))[-1]["version"]
    assert rollback(root, newest, "")["version"] == newest
    assert len(list_versions(str(root / "serving"))) == 2


@pytest.mark.parametrize("version", ["first", None])
def test_a_rollback_that_was_killed_before_the_push_is_finished_by_the_next(
    version: str | None, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = version and list_versions(str(root / "serving"))[0]["version"]
    with monkeypatch.context() as patch:
        patch.setattr(production, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rollback(root, wanted, "")
    assert (served(root), champion(root)) == ("run-2", "run-1")
    rollback(root, wanted, "")
    assert (served(root), champion(root)) == ("run-1", "run-1")
    assert len(list_versions(str(root / "serving"))) == 3


def test_a_second_rollback_does_not_come_forward_again(root: Path) -> None:
    rollback(root, None, "")
    with pytest.raises(ConfigError, match="no earlier blessed model"):
        rollback(root, None, "")
    assert served(root) == "run-1"


def test_a_refused_model_can_be_forced_and_it_shows(root: Path) -> None:
    card = force(root, None, "nothing better")
    assert (served(root), champion(root)) == ("run-3", "run-3")
    assert (card["kind"], card["refused_by"], card["reason"]) == (
        "forced",
        "worst_case,square",
        "nothing better",
    )
    listing = (
        CliRunner().invoke(main, ["models", "--root", str(root)], env={"COLUMNS": "200"}).output
    )
    assert "FORCED by" in listing
    assert "nothing better" in listing
    rollback(root, None, "")
    assert (served(root), champion(root)) == ("run-2", "run-2")
    rollback(root, card["version"], "after all")
    *_, last = (
        CliRunner()
        .invoke(main, ["models", "--root", str(root)], env={"COLUMNS": "200"})
        .output.splitlines()[:-1]
    )
    assert "after all" in last
    assert "refused by worst_case,square" in last


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda root: rollback(root, "17", ""), ConfigError, "there is no version 17; there are "),
        (lambda root: force(root, "run-9", ""), RunError, "the metadata knows no run run-9"),
        (lambda root: force(root, "run-1", ""), ConfigError, "blessed already"),
        (lambda root: force(root / "serving", None, ""), ConfigError, "is no root of a pipeline"),
    ],
    ids=["no-version", "no-run", "not-refused", "no-root"],
)
def test_what_cannot_be_done_changes_nothing(
    root: Path, call: Any, error: type, message: str
) -> None:
    before = list_versions(str(root / "serving"))
    with pytest.raises(error, match=message):
        call(root)
    assert list_versions(str(root / "serving")) == before


def test_a_model_that_was_never_blessed_does_not_come_back(root: Path) -> None:
    with production.metadata(root) as store:
        (model,) = [a for a in store.get_artifacts_by_type("Model") if a.name == "run-3"]
    stray = publish(
        f"{model.uri}/Format-Serving",
        str(root / "serving"),
        {"model": model.uri, "model_id": model.id},
    )
    with pytest.raises(RunError, match="was never blessed"):
        rollback(root, stray, "")


def test_what_cannot_be_served_cannot_be_forced(root: Path) -> None:
    with production.metadata(root) as store:
        checks = store.get_artifacts_by_type("InfraBlessing")
        checks[-1].custom_properties["blessed"].int_value = 0
        store.put_artifacts(checks)
    with pytest.raises(RunError, match="the serving check refused the model of run run-3"):
        force(root, None, "hurry")
    assert served(root) == "run-2"


def test_nothing_is_changed_while_a_run_is_under_way(root: Path) -> None:
    with FileLock(root / ".lock"), pytest.raises(RunError, match="a run is under way"):
        rollback(root, None, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bless", "--reason", "x"], "say --force"),
        (["bless", "--force"], "--reason takes a text"),
        (["models", "--root", "nowhere"], "there is no folder"),
        (["rollback", "--root", "gs://bucket/x"], "expected a local folder"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert message in done.output
