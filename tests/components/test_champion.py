"""Champion: which version is served, however it came there."""

import json
import shutil
from pathlib import Path

import pytest
from small_world import artifact
from tfx.types.standard_artifacts import String

from components.champion import Champion, served_version
from components.pusher import publish
from components.versions import CARD, Card, PushedBy, withdrawn_by


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A place for versions, and a model to push."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("a model")
    return tmp_path / "serving"


def pushed(serving: Path, **card: str) -> str:
    """A new version; returns its number."""
    return publish(str(serving.parent / "model"), str(serving), Card(**card))


def test_the_newest_version_is_the_champion(serving: Path, tmp_path: Path) -> None:
    assert served_version(str(serving)) == ""
    pushed(serving, model="a")
    newest = pushed(serving, model="b")
    (serving / str(int(newest) + 1)).mkdir()  # what a killed push to a store leaves
    answer = artifact(String, str(tmp_path / "answer"))
    Champion.EXECUTOR_SPEC.executor_class().Do({}, {"version": [answer]}, {"serving": str(serving)})
    assert answer.read() == str(serving / newest)


def test_a_model_that_is_served_again_is_the_same_champion(serving: Path) -> None:
    """So that what has met it comes from the cache, with a blessing that was withdrawn since."""
    first = pushed(serving, model="a")
    pushed(serving, model="b")
    again = pushed(serving, model="a", kind=PushedBy.ROLLBACK, of=first)
    assert served_version(str(serving)) == str(serving / first)
    pushed(serving, model="a", kind=PushedBy.ROLLBACK, of=again)
    assert served_version(str(serving)) == str(serving / first)


@pytest.mark.parametrize("of", ["1", "another model"])
def test_a_version_that_was_served_before_must_be_there(serving: Path, of: str) -> None:
    other = pushed(serving, model="b")
    again = pushed(serving, model="a", kind=PushedBy.ROLLBACK, of="1" if of == "1" else other)
    assert served_version(str(serving)) == str(serving / again)


def test_a_rollback_takes_later_models_out_until_they_are_served_again(serving: Path) -> None:
    first = pushed(serving, model="a")
    second = pushed(serving, model="b")
    pushed(serving, model="c")
    assert withdrawn_by(str(serving), "c") is None
    pushed(serving, model="a", kind=PushedBy.ROLLBACK, of=first, reason="slow")
    for model in "bc":
        card = withdrawn_by(str(serving), model)
        assert card is not None
        assert card.reason == "slow"
    assert withdrawn_by(str(serving), "a") is None
    assert withdrawn_by(str(serving), "never pushed") is None
    pushed(serving, model="b", kind=PushedBy.ROLLBACK, of=second)
    assert withdrawn_by(str(serving), "b") is None
    assert withdrawn_by(str(serving), "c") is not None
    assert withdrawn_by(str(serving), "a") is None, "nobody went back from it"
    pushed(serving, model="c", kind=PushedBy.FORCED)
    assert withdrawn_by(str(serving), "c") is None


def test_a_rollback_to_a_version_that_was_cleaned_up_since(serving: Path) -> None:
    first = pushed(serving, model="a")
    pushed(serving, model="b")
    pushed(serving, model="a", kind=PushedBy.ROLLBACK, of=first)
    shutil.rmtree(serving / first)
    assert withdrawn_by(str(serving), "b") is not None


def test_a_card_that_goes_in_a_circle(serving: Path) -> None:
    """Such as after a folder was renamed by hand."""
    only = pushed(serving, model="a", kind=PushedBy.ROLLBACK)
    card = serving / only / CARD
    card.write_text(json.dumps({"model": "a", "kind": "rollback", "of": only}))
    assert served_version(str(serving)) == str(serving / only)
