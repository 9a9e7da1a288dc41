"""Rollback: what is served then, and which blessings are in force."""

import json
from pathlib import Path

import pytest
from filelock import FileLock
from three_runs import gates_of, latest_blessed, model_of_run, served

from components.pusher import publish
from components.versions import Card, list_versions
from foundation import lock
from foundation.errors import ConfigError, RunError
from pipeline.production import rollback
from pipeline.production.forced_push import push_refused
from pipeline.production.requests import ForcedPush, Rollback, StoreRollback
from pipeline.production.rollback import serve_again, serve_again_in_store
from pipeline.root.root import Root


def test_rollback_serves_the_model_before_and_makes_it_the_champion(root: Root) -> None:
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    version = serve_again(Rollback(root=root, reason="too slow"))
    assert (served(root), latest_blessed(root)) == ("run-1", "run-1")
    card = version.card
    assert (card.kind, card.of, card.reason, card.clean) == (
        "rollback", list_versions(str(root.serving))[0].version, "too slow", 0.91,
    )  # fmt: skip
    with root.metadata() as store:
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


def test_rollback_to_a_version_goes_forward_again(root: Root) -> None:
    newest = list_versions(str(root.serving))[-1].version
    serve_again(Rollback(root=root, reason="slow"))
    serve_again(Rollback(root=root, version=newest, reason="it was not the model"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    assert len(list_versions(str(root.serving))) == 4


def test_rollback_to_what_is_served_pushes_nothing(root: Root) -> None:
    newest = list_versions(str(root.serving))[-1].version
    assert serve_again(Rollback(root=root, version=newest, reason="slow")).version == newest
    assert len(list_versions(str(root.serving))) == 2


@pytest.mark.parametrize("version", ["first", None])
def test_a_rollback_that_was_killed_before_the_push_is_finished_by_the_next(
    version: str | None, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = version and list_versions(str(root.serving))[0].version
    with monkeypatch.context() as patch:
        patch.setattr(rollback, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            serve_again(Rollback(root=root, version=wanted, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-1")
    serve_again(Rollback(root=root, version=wanted, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-1", "run-1")
    assert len(list_versions(str(root.serving))) == 3


def test_a_second_rollback_does_not_come_forward_again(root: Root) -> None:
    serve_again(Rollback(root=root, reason="slow"))
    with pytest.raises(ConfigError, match="no intact earlier blessed model"):
        serve_again(Rollback(root=root, reason="slow"))
    assert served(root) == "run-1"


def test_rollback_from_and_to_a_model_that_was_forced(root: Root) -> None:
    forced = push_refused(ForcedPush(root=root, reason="nothing better"))
    serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    version = serve_again(Rollback(root=root, version=forced.version, reason="after all"))
    assert (served(root), latest_blessed(root)) == ("run-3", "run-3")
    assert (version.card.reason, version.card.refused_by) == ("after all", "worst_case,square")


def test_a_version_that_is_not_there(root: Root) -> None:
    before = list_versions(str(root.serving))
    with pytest.raises(ConfigError, match="there is no version 17; there are "):
        serve_again(Rollback(root=root, version="17", reason="slow"))
    assert list_versions(str(root.serving)) == before


@pytest.mark.parametrize("carded", [True, False], ids=["card", "no-card"])
def test_a_model_that_was_never_blessed_does_not_come_back(carded: bool, root: Root) -> None:
    model = model_of_run(root, "run-3")
    figures = {gate["name"]: gate["value"] for gate in gates_of("run-3")}
    card = Card(model=model.uri, model_id=model.id, **figures) if carded else Card()
    stray = publish(f"{model.uri}/Format-Serving", str(root.serving), card)
    with pytest.raises(RunError, match="was never blessed"):
        serve_again(Rollback(root=root, version=stray, reason="slow"))


def test_a_rollback_works_while_a_run_is_under_way(root: Root) -> None:
    with FileLock(root.folder / ".lock"):
        serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-1", "run-1")


def test_a_rollback_waits_for_another_change_and_not_for_ever(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.5)
    message = r"somebody else is changing the versions in .*/serving"
    with FileLock(root.serving / ".lock"), pytest.raises(RunError, match=message):
        serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")


def test_a_store_without_metadata_goes_back_by_its_cards(root: Root) -> None:
    serving = str(root.serving)
    version = serve_again_in_store(StoreRollback(serving=serving, reason="too slow"))
    assert served(root) == "run-1"
    assert (version.card.kind, version.card.reason) == ("rollback", "too slow")
    with pytest.raises(ConfigError, match="no intact earlier model to go back to"):
        serve_again_in_store(StoreRollback(serving=serving, reason="slow"))
    newer = list_versions(serving)[1].version
    serve_again_in_store(StoreRollback(serving=serving, version=newer, reason="slow"))
    assert served(root) == "run-2"
    same = serve_again_in_store(StoreRollback(serving=serving, version=newer, reason="slow"))
    assert len(list_versions(serving)) == 4
    assert same.serving
    with pytest.raises(ConfigError, match="there is no version 17"):
        serve_again_in_store(StoreRollback(serving=serving, version="17", reason="slow"))


def test_a_store_in_which_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="versions are none"):
        serve_again_in_store(StoreRollback(serving=str(tmp_path / "nowhere"), reason="slow"))
