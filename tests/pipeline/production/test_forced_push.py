"""The push of a refused model by hand, and what it leaves on record."""

from collections.abc import Callable

import pytest
from three_runs import latest_blessed, served

from components.versions import list_versions
from foundation.errors import ConfigError, RunError
from pipeline.production.forced_push import push_refused
from pipeline.production.requests import ForcedPush
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
