"""Rollback: what is served then, and which blessings are in force."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ml_metadata.proto import metadata_store_pb2 as mlmd
from three_runs import RUNS, gates_of, latest_blessed, model_of_run, served

from components import pusher
from components import versions as module_of_versions
from components.binding import ACCOUNT, WRITTEN, account, fields_of_push
from components.bound import bound_by
from components.journal import JOURNAL, append, read
from components.manifest import MANIFEST, MODEL_SHA256, digest_of, write_manifest
from components.pusher import publish, settle
from components.versions import (
    CARD,
    GONE_BACK,
    NEVER_BLESSED,
    STRAY,
    UNKNOWN,
    Card,
    Version,
    list_versions,
    missing,
    withdrawn_by,
)
from foundation import locks
from foundation.errors import ConfigError, RunError
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from pipeline.local.job import check_champion
from pipeline.production import forced_push, rollback
from pipeline.production.forced_push import push_refused
from pipeline.production.listing import held_against, list_root
from pipeline.production.prediction import classify
from pipeline.production.requests import Classification, ForcedPush, Rollback, StoreRollback
from pipeline.production.rollback import serve_again, serve_again_in_store
from pipeline.root.blessings import is_blessed
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


def pushed_again(root: Root, version: Version) -> None:
    """The model of a version, as its run pushes it when another one is served."""
    serving = str(root.serving)
    with root.serving_lock():
        publish(f"{serving}/{version.version}", serving, version.card)
        settle(serving)


def test_the_order_is_that_of_the_pushes_and_not_of_the_trainings(root: Root) -> None:
    """A, B, A again: back to B, and A is what somebody went back from."""
    first = list_versions(str(root.serving))[0]
    pushed_again(root, first)
    serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    card = list_versions(str(root.serving))[-1].card
    assert withdrawn_by(str(root.serving), first.card.model, first.card.manifest_sha256) == card
    with pytest.raises(ConfigError, match="no intact earlier blessed model"):
        serve_again(Rollback(root=root, reason="slow"))


def test_the_same_in_a_store(root: Root) -> None:
    first = list_versions(str(root.serving))[0]
    pushed_again(root, first)
    serve_again_in_store(StoreRollback(serving=str(root.serving), reason="slow"))
    assert served(root) == "run-2"
    with pytest.raises(ConfigError, match="no intact earlier model"):
        serve_again_in_store(StoreRollback(serving=str(root.serving), reason="slow"))


def test_an_old_model_that_was_forced_later_is_the_later_one(root: Root) -> None:
    """Back to the young model, and the old one is out until it is named."""
    old, young = list_versions(str(root.serving))
    pushed_again(root, old)  # as `bless OLD --force` would
    serve_again(Rollback(root=root, version=young.version, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    with root.metadata() as store:
        in_force = {b.name for b in store.get_artifacts_by_type("ModelBlessing") if is_blessed(b)}
    assert in_force == {"run-2"}


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
    assert list_root(root)[-1].problem == (NEVER_BLESSED if carded else UNKNOWN)
    with pytest.raises(RunError, match="was never blessed"):
        serve_again(Rollback(root=root, version=stray, reason="slow"))


def test_a_rollback_works_while_a_run_is_under_way(root: Root) -> None:
    with FileLock(root.folder / ".lock"):
        serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-1", "run-1")


def test_a_rollback_waits_for_another_change_and_not_for_ever(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.5)
    message = r"somebody else is changing the versions in .*/serving"
    with FileLock(root.serving / ".lock"), pytest.raises(RunError, match=message):
        serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")


def looked_at(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Have something happen whenever the files of a version are verified."""
    verify = module_of_versions.verify

    def slow(*arguments: Any) -> Any:
        meanwhile()
        return verify(*arguments)

    monkeypatch.setattr(module_of_versions, "verify", slow)


ROLLBACKS: dict[str, Callable[[Root], object]] = {
    "root": lambda root: serve_again(Rollback(root=root, reason="slow")),
    "store": lambda root: serve_again_in_store(
        StoreRollback(serving=str(root.serving), reason="slow")
    ),
    "bless": lambda root: push_refused(ForcedPush(root=root, run_id="run-3", reason="slow")),
}


@pytest.mark.parametrize("change", ROLLBACKS)
def test_others_push_while_the_files_are_verified(
    root: Root, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Which takes minutes where there are many."""
    taken = []

    def take() -> None:
        if "copy" not in taken:
            with FileLock(root.serving / ".lock", timeout=0):
                taken.append("look")

    publish = pusher.publish

    def published(*arguments: Any) -> str:
        taken.append("copy")
        return publish(*arguments)

    looked_at(monkeypatch, take)
    for module in (rollback, forced_push):
        monkeypatch.setattr(module, "publish", published)
    ROLLBACKS[change](root)
    assert taken == ["look"] * (len(taken) - 1) + ["copy"]
    assert len(taken) > 1


@pytest.mark.parametrize("change", ROLLBACKS)
def test_what_others_pushed_while_the_files_were_verified_ends_the_change(
    root: Root, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    export = next(root.serving / each.version for each in list_versions(str(root.serving)))
    before = latest_blessed(root)
    with monkeypatch.context() as patch:
        looked_at(
            patch, lambda: pusher.publish(str(export), str(root.serving), Card(model="another"))
        )
        with pytest.raises(RunError, match="somebody else changed the versions in"):
            ROLLBACKS[change](root)
    assert list_versions(str(root.serving))[-1].card.model == "another"
    assert latest_blessed(root) == before


def test_a_full_disk_after_a_rollback_is_a_warning(
    root: Root, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number = len(list_versions(str(root.serving)))

    def full(*arguments: Any) -> None:
        if len(list_versions(str(root.serving))) > number:
            raise OSError(28, "No space left on device")
        append(*arguments)

    with monkeypatch.context() as patch:
        for module in (rollback, pusher):
            patch.setattr(module, "append", full)
        version = serve_again(Rollback(root=root, reason="slow"))
    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert any(f"version {version.version} is served" in line for line in told), told
    assert served(root) == "run-1"


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


def break_version(root: Root, version: str, how: str) -> None:
    """Change a version by hand."""
    folder = root.serving / version
    card = folder / CARD
    match how:
        case "a file":
            (folder / "saved_model.pb").write_text("another model")
        case "an extra file":
            (folder / "more").touch()
        case "an empty card":
            card.write_text("")
        case "no card":
            card.unlink()
        case "figures":
            card.write_text(card.read_text().replace("0.91", "1.0"))
        case "a file, its manifest and its card":
            (folder / "saved_model.pb").write_text("another model")
            digest = json.loads(card.read_text())["manifest_sha256"]
            card.write_text(card.read_text().replace(digest, write_manifest(str(folder))))
        case "no manifest":
            (folder / MANIFEST).unlink()
        case "a card that means another version":
            content = json.loads(card.read_text()) | {"version": "../../..", "of": "../../.."}
            card.write_text(json.dumps(content))


BREAKS = [
    "a file", "an extra file", "an empty card", "no card", "figures",
    "a file, its manifest and its card", "no manifest", "a card that means another version",
]  # fmt: skip


CARD_ONLY = ["an empty card", "no card", "figures", "a card that means another version"]


@pytest.mark.parametrize("in_store", [True, False])
@pytest.mark.parametrize("how", CARD_ONLY)
def test_the_only_version_with_a_broken_card_is_served_again_with_that_of_the_journal(
    how: str, in_store: bool, root: Root
) -> None:
    first, second = (version.version for version in list_versions(str(root.serving)))
    shutil.rmtree(root.serving / second)
    break_version(root, first, how)
    way = f"`gauntlet rollback {first}"
    with pytest.raises(RunError, match=way):
        check_champion(root)
    serving, reason = str(root.serving), "the card is lost"
    if in_store:
        with pytest.raises(ConfigError, match=way):
            serve_again_in_store(StoreRollback(serving=serving, reason=reason))
        serve_again_in_store(StoreRollback(serving=serving, version=first, reason=reason))
    else:
        with pytest.raises(ConfigError, match=way):
            serve_again(Rollback(root=root, reason=reason))
        serve_again(Rollback(root=root, version=first, reason=reason))
    again = list_root(root)[-1]
    assert (again.problem, again.card.of, again.card.clean) == ("", first, 0.91)
    check_champion(root)


def test_a_journal_that_was_forged_gives_no_card_back(root: Root) -> None:
    first = list_versions(str(root.serving))[0].version
    break_version(root, first, "no card")
    journal = root.serving / JOURNAL
    journal.write_text(journal.read_text().replace("0.91", "1.0"))
    with pytest.raises(RunError, match="its card is forged"):
        serve_again(Rollback(root=root, version=first, reason="slow"))


FILES = [how for how in BREAKS if how not in CARD_ONLY]


@pytest.mark.parametrize("how", FILES)
def test_a_broken_version_is_named_and_never_served_again(how: str, root: Root) -> None:
    first = list_versions(str(root.serving))[0].version
    break_version(root, first, how)
    assert [bool(version.problem) for version in list_root(root)] == [True, False]
    with pytest.raises(RunError, match=f"version {first} is not served again: "):
        serve_again(Rollback(root=root, version=first, reason="slow"))
    with pytest.raises(ConfigError, match="no intact earlier blessed model"):
        serve_again(Rollback(root=root, reason="slow"))
    store = StoreRollback(serving=str(root.serving), version=first, reason="slow")
    with pytest.raises(RunError, match=f"version {first} is not served again: "):
        serve_again_in_store(store)
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")


@pytest.mark.parametrize("how", [*BREAKS[:4], "no manifest"])
@pytest.mark.parametrize("in_store", [True, False])
def test_away_from_a_served_version_that_is_broken(how: str, in_store: bool, root: Root) -> None:
    break_version(root, list_versions(str(root.serving))[-1].version, how)
    if in_store:
        serve_again_in_store(StoreRollback(serving=str(root.serving), reason="damaged"))
    else:
        serve_again(Rollback(root=root, reason="damaged"))
    assert served(root) == "run-1"
    assert list_root(root)[-1].problem == ""


def test_a_card_and_a_journal_that_were_forged_are_compared_with_the_gates(root: Root) -> None:
    """Whoever may write there may write all of it but the metadata."""
    first = list_versions(str(root.serving))[0].version
    break_version(root, first, "figures")
    (root.serving / JOURNAL).unlink()
    version = list_root(root)[0]
    assert version.problem == "its card is forged: clean 100.00%, the gates measured 91.00%"


def test_a_version_that_was_put_there_by_hand(root: Root) -> None:
    newest = int(list_versions(str(root.serving))[-1].version)
    shutil.copytree(root.serving / str(newest), root.serving / str(newest + 5))
    content = json.loads((root.serving / f"{newest + 5}" / CARD).read_text())
    (root.serving / f"{newest + 5}" / CARD).write_text(json.dumps(content))
    assert list_root(root)[-1].problem == STRAY
    with pytest.raises(RunError, match="the journal does not know it"):
        serve_again(Rollback(root=root, version=str(newest + 5), reason="slow"))


def forge(root: Root) -> None:
    """The served version is another model, and all in its folder and beside it agrees."""
    newest = list_versions(str(root.serving))[-1].version
    break_version(root, newest, "a file, its manifest and its card")
    (root.serving / JOURNAL).unlink()


@pytest.mark.parametrize("also_as_a_new_one", [True, False])
def test_a_model_that_the_metadata_do_not_know_answers_nothing_and_is_no_champion(
    root: Root, also_as_a_new_one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    note_digests(root)
    check_champion(root)
    assert "it was removed or shortened" not in caplog.text
    forge(root)
    if also_as_a_new_one:
        newest = list_versions(str(root.serving))[-1].version
        shutil.copytree(root.serving / newest, root.serving / str(int(newest) + 5))
    message = "it is not the model that was judged, as the metadata have it"
    with pytest.raises(RunError, match=message):
        check_champion(root)
    with pytest.raises(RunError, match=message):
        classify(Classification(root=root, images=(Path("0.png"),)))
    version = list_versions(str(root.serving))[-1]
    assert held_against(root, version).damaged
    assert "it was removed or shortened" in caplog.text


@pytest.mark.parametrize("by_journal", [True, False])
def test_where_the_metadata_were_lost_the_journal_answers_for_what_is_served(
    root: Root, by_journal: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (root.folder / "metadata.sqlite").unlink()
    check_champion(root)
    with root.metadata() as store:
        for name in ("Model", "ModelBlessing", "PushedModel"):
            store.put_artifact_type(mlmd.ArtifactType(name=name))
    if by_journal:
        check_champion(root)
        assert "its journal alone is believed" in caplog.text
        return
    (root.serving / JOURNAL).unlink()
    with pytest.raises(RunError, match=r"is no champion: its model was never .*--store ROOT"):
        check_champion(root)


def test_a_model_that_was_gone_back_from_is_no_champion(root: Root) -> None:
    """Somebody takes the folder of the rollback away, or puts an older state of all back."""
    version = serve_again(Rollback(root=root, reason="slow")).version
    shutil.rmtree(root.serving / version)
    assert [each.problem for each in list_root(root)] == ["", GONE_BACK]
    assert missing(str(root.serving)) == (
        f"the journal in {root.serving} has versions that are not there: {version}"
    )
    with pytest.raises(RunError, match="is no champion: somebody went back from its model"):
        check_champion(root)
    newest = list_versions(str(root.serving))[-1].version
    serve_again(Rollback(root=root, version=newest, reason="after all"))
    assert [each.problem for each in list_root(root)] == ["", ""]
    check_champion(root)


def test_a_rollback_by_the_cards_alone_is_one_all_the_same(root: Root) -> None:
    """The metadata still have the withdrawal, which is older than what is served."""
    newest = list_versions(str(root.serving))[-1].version
    serve_again(Rollback(root=root, reason="slow"))
    request = StoreRollback(serving=str(root.serving), version=newest, reason="after all")
    serve_again_in_store(request)
    assert served(root) == "run-2"
    assert list_root(root)[-1].problem == ""
    check_champion(root)


def test_terms_that_are_not_those_of_the_run_are_a_forged_card(root: Root) -> None:
    """Card, gates.toml and journal edited alike: the metadata have what the run had to reach."""
    terms = terms_of(preset("robust")).plain()
    newest = list_versions(str(root.serving))[-1]
    with root.metadata() as store:
        *_, other, pushed = store.get_artifacts_by_type("PushedModel")
        for artifact, name in ((pushed, "robust"), (other, "smoke")):
            artifact.custom_properties["pushed_version"].string_value = newest.version
            told = json.dumps(account(terms_of(preset(name)), "", 0, "c"))
            artifact.custom_properties[ACCOUNT].string_value = told
        pushed.custom_properties[WRITTEN].int_value = 1  # the other one was served already
        store.put_artifacts([pushed, other])
    for known, problem in ((terms, ""), (terms | {"gates": {"clean": 0.1}}, "its card is forged")):
        card = root.serving / newest.version / CARD
        card.write_text(json.dumps(json.loads(card.read_text()) | {"terms": known}))
        (root.serving / JOURNAL).unlink(missing_ok=True)
        assert list_root(root)[-1].problem.startswith(problem)


def test_a_rollback_to_a_version_under_weaker_terms_says_so(root: Root) -> None:
    """The folder stays bound by the stricter ones."""
    serving = str(root.serving)
    for name, clean in zip(RUNS[:2], ("0.9", "0.99"), strict=True):
        own = terms_of(override(preset("robust"), [f"gates.clean={clean}"]))
        model = model_of_run(root, name)
        fields = fields_of_push(serving, account(own, "", 0, "c"))
        figures = {gate["name"]: gate["value"] for gate in gates_of(name)}
        card = Card(model=model.uri, model_id=model.id, run_id=name, **figures, **fields)
        publish(f"{model.uri}/Format-Serving", serving, card)
    version = serve_again(Rollback(root=root, reason="slow"))
    assert version.card.lowered == ("gates.clean is 0.9, which asks for less than 0.99",)
    bound = bound_by(serving)
    assert bound is not None
    assert bound.terms.policy.gates.clean == 0.99
    *_, newest, _ = list_versions(serving)
    forward = serve_again(Rollback(root=root, version=newest.version, reason="after all"))
    assert forward.card.lowered == ()


def test_in_a_store_with_a_journal_what_that_does_not_know_does_not_come_back(root: Root) -> None:
    """An older version from elsewhere, whose number is below those that the journal has."""
    first, _ = list_versions(str(root.serving))
    shutil.copytree(root.serving / first.version, root.serving / "7")
    card = root.serving / "7" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"model": "/elsewhere", "push": "x"}))
    shutil.rmtree(root.serving / first.version)
    with pytest.raises(ConfigError, match="no intact earlier model"):
        serve_again_in_store(StoreRollback(serving=str(root.serving), reason="slow"))


def test_a_stray_version_is_no_champion_and_a_rollback_goes_past_it(root: Root) -> None:
    first, newest = (version.version for version in list_versions(str(root.serving)))
    shutil.copytree(root.serving / first, root.serving / str(int(newest) + 5))
    with pytest.raises(RunError, match="is no champion: nobody pushed it"):
        check_champion(root)
    serve_again_in_store(StoreRollback(serving=str(root.serving), reason="what is this?"))
    assert served(root) == "run-2"
    check_champion(root)


def test_a_copy_of_an_earlier_version_is_not_settled_and_not_served_again(root: Root) -> None:
    first, newest = (int(version.version) for version in list_versions(str(root.serving)))
    serve_again(Rollback(root=root, reason="slow"))
    shutil.copytree(root.serving / str(newest), root.serving / str(newest + 5))
    settle(str(root.serving))
    assert list_root(root)[-1].problem == STRAY
    with pytest.raises(RunError, match="the journal does not know it"):
        serve_again(Rollback(root=root, version=str(newest + 5), reason="after all"))
    assert latest_blessed(root) == "run-1"
    serve_again(Rollback(root=root, version=str(first), reason="not this one"))
    assert served(root) == "run-1"
    assert list_root(root)[-1].problem == ""


def without_manifest(root: Root, version: str, number: str = "1") -> str:
    """What somebody makes of a version: its card without a digest at a low number, which no
    manifest can prove; returns that."""
    folder = root.serving / number
    shutil.copytree(root.serving / version, folder)
    content = json.loads((folder / CARD).read_text())
    content.pop("manifest_sha256")
    content.pop("push")
    (folder / CARD).write_text(json.dumps(content))
    (folder / MANIFEST).unlink()
    return number


def note_digests(root: Root) -> None:
    """What the judges of the models note."""
    with root.metadata() as store:
        blessings = store.get_artifacts_by_type("ModelBlessing")
        for blessing in blessings:
            export = root.artifacts / blessing.name / "model" / "Format-Serving"
            blessing.custom_properties[MODEL_SHA256].string_value = digest_of(str(export))
        store.put_artifacts(blessings)


@pytest.mark.parametrize("known_by", ["journal", "metadata"])
def test_a_card_without_a_digest_hides_no_other_files(root: Root, known_by: str) -> None:
    old = without_manifest(root, list_versions(str(root.serving))[0].version)
    (root.serving / old / "saved_model.pb").write_text("another model")
    if known_by == "metadata":
        note_digests(root)
        (root.serving / JOURNAL).unlink()
    assert list_root(root)[0].problem
    with pytest.raises(RunError, match="version 1 is not served again"):
        serve_again(Rollback(root=root, version=old, reason="slow"))


@pytest.mark.parametrize("in_store", [True, False])
def test_what_was_pushed_before_manifests_is_served_again_by_its_name_only(
    root: Root, in_store: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = list_versions(str(root.serving))[0].version
    without_manifest(root, first)
    shutil.rmtree(root.serving / first)
    request = {"reason": "slow"}
    task = StoreRollback(serving=str(root.serving), **request) if in_store else None
    with pytest.raises(ConfigError, match=r"versions are 1 \(no manifest\), "):
        serve_again_in_store(task) if task else serve_again(Rollback(root=root, **request))
    assert served(root) == "run-2"
    named = {"version": "1", "reason": "slow"}
    if in_store:
        serve_again_in_store(StoreRollback(serving=str(root.serving), **named))
    else:
        serve_again(Rollback(root=root, **named))
    assert served(root) == "run-1"
    assert "nobody knows whether its files are those that were pushed" in caplog.text


def test_numbers_and_addresses_that_came_again_are_not_the_model(root: Root) -> None:
    """The metadata were lost, and counted from one again."""
    first = list_versions(str(root.serving))[0]
    with root.metadata() as store:
        blessings = store.get_artifacts_by_type("ModelBlessing")
        for blessing in blessings:
            blessing.custom_properties[MODEL_SHA256].string_value = "of another model"
        store.put_artifacts(blessings)
    assert list_root(root)[0].problem == (
        "it is not the model that was judged, as the metadata have it"
    )
    with pytest.raises(RunError, match="is not the model that was judged"):
        serve_again(Rollback(root=root, version=first.version, reason="slow"))
    assert latest_blessed(root) == "run-2"


def test_a_rollback_that_was_killed_after_the_push_is_not_done_twice(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three models, so a second rollback would go one further."""
    push_refused(ForcedPush(root=root, reason="nothing better"))
    with monkeypatch.context() as patch:
        patch.setattr(pusher, "_complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            serve_again(Rollback(root=root, reason="slow"))
    assert served(root) == "run-2"
    count = len(list_versions(str(root.serving)))
    serve_again(Rollback(root=root, reason="slow"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")
    assert len(list_versions(str(root.serving))) == count
    serve_again(Rollback(root=root, reason="slow"))
    assert served(root) == "run-1"


def test_a_rollback_is_in_the_journal_with_who_and_why(root: Root) -> None:
    serve_again(Rollback(root=root, reason="too slow", by="Ada"))
    withdrawal, begun, done = read(str(root.serving)).entries[-3:]
    assert [each.what for each in (withdrawal, begun, done)] == [
        "withdrawn", "rollback", "rollback",
    ]  # fmt: skip
    assert withdrawal.model == model_of_run(root, "run-2").uri
    assert done.version == list_versions(str(root.serving))[-1].version
    for entry in (withdrawal, begun, done):
        assert entry.reason == "too slow"
        assert f"(uid {os.getuid()}) on " in entry.by
        assert entry.by.endswith('by own account "Ada"')


def test_a_blessing_that_is_in_force_again_is_in_the_journal(root: Root) -> None:
    newest = list_versions(str(root.serving))[-1].version
    serve_again(Rollback(root=root, reason="too slow"))
    serve_again(Rollback(root=root, version=newest, reason="fast enough"))
    restored, *pushed = read(str(root.serving)).entries[-3:]
    assert [each.what for each in (restored, *pushed)] == ["restored", "rollback", "rollback"]
    assert (restored.model, restored.reason) == (model_of_run(root, "run-2").uri, "fast enough")


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_rollback_needs_a_reason(root: Root, reason: str) -> None:
    with pytest.raises(ConfigError, match="say why, by --reason"):
        serve_again(Rollback(root=root, reason=reason))
