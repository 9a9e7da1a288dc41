"""The push of a refused model by hand, and what it leaves on record."""

import json
from collections.abc import Callable

import pytest
from three_runs import latest_blessed, model_of_run, record, served

from components import pusher
from components.binding import account
from components.bound import FILE, read_terms
from components.manifest import MODEL_SHA256, digest_of
from components.pusher import ACCOUNT
from components.versions import list_versions
from foundation.errors import ConfigError, RunError
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from pipeline.production import forced_push
from pipeline.production.forced_push import push_refused
from pipeline.production.requests import ForcedPush, Rollback
from pipeline.production.rollback import serve_again
from pipeline.root.root import Root


def test_a_refused_model_can_be_forced_and_it_shows(root: Root) -> None:
    card = push_refused(ForcedPush(root=root, reason="nothing better")).card
    assert (served(root), latest_blessed(root)) == ("run-3", "run-3")
    assert (card.kind, card.refused_by, card.reason) == (
        "forced",
        "worst_case,square",
        "nothing better",
    )


@pytest.mark.parametrize(
    ("place", "run", "error", "message"),
    [
        (lambda root: root, "run-9", ConfigError, "there is no run run-9; there are run-1, "),
        (lambda root: root, "run-1", ConfigError, "blessed already"),
        (lambda root: Root(root.serving), None, ConfigError, "is no root of a pipeline"),
    ],
    ids=["no-run", "not-refused", "no-root"],
)
def test_what_cannot_be_done_changes_nothing(
    root: Root, place: Callable[[Root], Root], run: str | None, error: type, message: str
) -> None:
    before = list_versions(str(root.serving))
    with pytest.raises(error, match=message):
        push_refused(ForcedPush(root=place(root), run_id=run, reason=""))
    assert list_versions(str(root.serving)) == before


def test_what_cannot_be_served_cannot_be_forced(root: Root) -> None:
    with root.metadata() as store:
        checks = store.get_artifacts_by_type("InfraBlessing")
        checks[-1].custom_properties["blessed"].int_value = 0
        store.put_artifacts(checks)
    with pytest.raises(RunError, match="the serving check refused the model of run run-3"):
        push_refused(ForcedPush(root=root, reason="hurry"))
    assert served(root) == "run-2"


@pytest.mark.parametrize("step", ["before", "appeared"])
def test_a_forced_push_that_was_killed_is_completed_by_the_next(
    root: Root, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "before":
            patch.setattr(forced_push, "publish", killed)
        else:
            patch.setattr(pusher, "_complete", killed)
        with pytest.raises(KeyboardInterrupt):
            push_refused(ForcedPush(root=root, reason="nothing better"))
    assert latest_blessed(root) == "run-3", "the metadata first"
    for _ in range(2):
        push_refused(ForcedPush(root=root, reason="nothing better"))
        assert (served(root), latest_blessed(root)) == ("run-3", "run-3")
        assert len(list_versions(str(root.serving))) == 3
    assert pusher.unsettled(str(root.serving)) == {}


def test_a_forced_model_that_was_replaced_is_not_forced_again(root: Root) -> None:
    push_refused(ForcedPush(root=root, reason="nothing better"))
    serve_again(Rollback(root=root, reason="better after all"))
    with root.metadata() as store:
        (forced,) = [b for b in store.get_artifacts_by_type("ModelBlessing") if b.name == "run-3"]
        forced.custom_properties["blessed"].int_value = 1
        store.put_artifacts([forced])
    with pytest.raises(ConfigError, match="blessed already"):
        push_refused(ForcedPush(root=root, run_id="run-3", reason="again"))


def test_of_several_refused_runs_one_must_be_named(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    """In the order of their making, whatever their names say: clocks differ."""
    with root.metadata() as store:
        record(store, root, "a-run-4", blessed=False)
    figures = r"clean 94.00%, worst_case 50.00%, certified 40.00%, refused by worst_case,square"
    message = rf"Name one of those .*: a-run-4 \({figures}\); run-3 \(clean 93"
    with pytest.raises(ConfigError, match=message):
        push_refused(ForcedPush(root=root, reason="hurry"))
    caplog.set_level("INFO")
    push_refused(ForcedPush(root=root, run_id="a-run-4", reason="hurry"))
    assert served(root) == "a-run-4"
    assert "run a-run-4 (clean 94.00%" in caplog.text


def test_a_refused_run_before_one_that_passed_is_named_too(root: Root) -> None:
    with root.metadata() as store:
        record(store, root, "a-run-4", blessed=True)
    with pytest.raises(ConfigError, match=r"which run\? .*: run-3 \("):
        push_refused(ForcedPush(root=root, reason="hurry"))


def test_a_model_that_was_changed_since_it_was_judged_is_not_forced(root: Root) -> None:
    model = model_of_run(root, "run-3")
    with root.metadata() as store:
        (blessing,) = [b for b in store.get_artifacts_by_type("ModelBlessing") if b.name == "run-3"]
        judged = digest_of(f"{model.uri}/Format-Serving")
        blessing.custom_properties[MODEL_SHA256].string_value = judged
        store.put_artifacts([blessing])
    (root.artifacts / "run-3" / "model" / "Format-Serving" / "saved_model.pb").write_text("x")
    with pytest.raises(RunError, match="changed"):
        push_refused(ForcedPush(root=root, reason="hurry"))
    assert served(root) == "run-2"


def test_a_forced_version_says_what_it_is_for_and_binds_the_folder(root: Root) -> None:
    """As the run has told its Pusher, which pushed nothing."""
    own = terms_of(preset("smoke"))
    with root.metadata() as store:
        (pushed,) = [a for a in store.get_artifacts_by_type("PushedModel") if a.name == "run-3"]
        pushed.custom_properties[ACCOUNT].string_value = json.dumps(account(own, "", 7, "c0de"))
        store.put_artifacts([pushed])
    card = push_refused(ForcedPush(root=root, reason="hurry")).card
    assert (card.terms, card.seed, card.code) == (own.plain(), 7, "c0de")
    bound = read_terms(root.serving / FILE)
    assert bound is not None
    assert bound.purpose == own.purpose
    serve_again(Rollback(root=root, reason="better"))
    assert read_terms(root.serving / FILE) == bound, "the version before says nothing"


def test_a_model_of_which_nobody_knows_what_it_is_for_is_not_forced_into_a_bound_root(
    root: Root,
) -> None:
    """Its run is old, or was killed before its Pusher."""
    (root.serving / FILE).write_text(terms_of(preset("smoke")).to_toml())
    with pytest.raises(ConfigError, match=r"does not say what its model is for, .*run it again"):
        push_refused(ForcedPush(root=root, reason="hurry"))
    assert (served(root), latest_blessed(root)) == ("run-2", "run-2")


def test_terms_that_cannot_be_read_stop_no_rollback(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    (root.serving / FILE).write_text("no toml")
    serve_again(Rollback(root=root, reason="slow"))
    assert served(root) == "run-1"
    assert "cannot be read as terms" in caplog.text
