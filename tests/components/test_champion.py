"""Champion: which version is served, however it came there."""

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_world import artifact
from tfx.types.standard_artifacts import Schema, String
from three_runs import latest_blessed, three_runs

from components.champion import Champion, served_version
from components.changes import signed
from components.journal import JOURNAL
from components.mandate import Mandate
from components.policy import Terms
from components.pusher import publish
from components.schema import derived_schema
from components.versions import CARD, Card, PushedBy, withdrawn_by
from foundation.errors import ConfigError, DataError, RunError
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from trainer.classes import CLASS_NAMES, file_of


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A place for versions, and a model to push."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("a model")
    return tmp_path / "serving"


def answers(
    serving: Path, schema: list[Schema] | None = None, **parameters: str | int
) -> dict[str, str]:
    """All that Champion answers."""
    outputs = {
        name: [artifact(String, str(serving.parent / f"answer-{name}"))]
        for name in ("version", "served", "not_compared", "best")
    }
    inputs = {} if schema is None else {"schema": schema}
    executor = Champion.EXECUTOR_SPEC.executor_class()
    executor.Do(inputs, outputs, {"serving": str(serving), **parameters})
    return {name: str(output.read()) for name, (output,) in outputs.items()}


def pushed(serving: Path, **card: Any) -> str:
    """A new version; returns its number."""
    return publish(str(serving.parent / "model"), str(serving), Card(**card))


def test_the_newest_version_is_the_champion(serving: Path) -> None:
    assert served_version(str(serving)) == ""
    pushed(serving, model="a")
    newest = pushed(serving, model="b")
    (serving / str(int(newest) + 1)).mkdir()  # what a killed push to a store leaves
    assert answers(serving)["version"] == str(serving / newest)


def test_versions_that_cannot_be_locked_end_the_run_before_anything_is_computed(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume without locks, to which no model could be pushed an hour later."""

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    assert answers(serving)["version"] == ""
    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(RunError, match=r"serving/\.lock cannot be locked"):
        answers(serving)


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


def test_a_model_that_was_pushed_again_is_gone_back_from(serving: Path) -> None:
    """What counts is its last push, and not the first."""
    pushed(serving, model="a")
    second = pushed(serving, model="b")
    pushed(serving, model="a")
    pushed(serving, model="b", kind=PushedBy.ROLLBACK, of=second)
    assert withdrawn_by(str(serving), "a") is not None
    assert withdrawn_by(str(serving), "b") is None


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
    (serving / JOURNAL).unlink()  # which has the card as it was
    assert served_version(str(serving)) == str(serving / only)


def with_classes(serving: Path, names: tuple[str, ...], count: int | None = None) -> str:
    """A pushed version that knows these classes, or as before this version their number alone."""
    model = serving.parent / "model"
    if names:
        (model / "assets").mkdir()
        (model / "assets" / CLASS_NAMES).write_bytes(file_of(names))
    if count:
        (model / "assets.extra").mkdir()
        (model / "assets.extra" / "settings.json").write_text(json.dumps({"classes": count}))
    return str(serving / pushed(serving, model="a"))


def asked(serving: Path, names: tuple[str, ...], accept_classes: int = 0) -> str:
    """Champion's answer where the data has these classes."""
    schema = artifact(Schema, str(serving.parent / "schema"))
    Path(schema.uri).mkdir()
    text = derived_schema((8, 8, 1), len(names), names)
    (Path(schema.uri) / "schema.pbtxt").write_text(text, encoding="utf-8")
    return answers(serving, [schema], accept_classes=accept_classes)["version"]


OTHERS = [
    (("cat", "dog"), None, ("cow", "dog"), "cat is gone, cow is new"),
    (("cat", "dog"), None, ("dog", "cat"), "another order: label 0 was cat and is dog"),
    (("cat", "dog"), None, ("cat", "dog", "\u732b"), "\u732b is new"),
    ((), 3, ("cat", "dog"), "there were 3 classes, now there are 2"),
]


@pytest.mark.parametrize(("theirs", "count", "ours", "words"), OTHERS)
def test_a_champion_of_other_classes_ends_the_run_and_says_the_ways_out(
    serving: Path, theirs: tuple[str, ...], count: int | None, ours: tuple[str, ...], words: str
) -> None:
    with_classes(serving, theirs, count)
    with pytest.raises(DataError, match=words) as error:
        asked(serving, ours)
    assert "another --root" in str(error.value)
    assert "--accept-classes" in str(error.value)


@pytest.mark.parametrize(("theirs", "count", "ours", "words"), OTHERS)
def test_other_classes_that_are_accepted(
    serving: Path, theirs: tuple[str, ...], count: int | None, ours: tuple[str, ...], words: str
) -> None:
    version = with_classes(serving, theirs, count)
    assert asked(serving, ours, accept_classes=1) == version


@pytest.mark.parametrize(
    ("theirs", "count"), [(("cat", "dog"), None), ((), 2), ((), None)], ids=["names", "number", ""]
)
def test_a_champion_of_the_same_classes(
    serving: Path, theirs: tuple[str, ...], count: int | None
) -> None:
    version = with_classes(serving, theirs, count)
    assert asked(serving, ("cat", "dog")) == version


def test_without_a_champion_nothing_is_compared(serving: Path) -> None:
    assert asked(serving, ("cat", "dog")) == ""


def terms(*settings: str) -> Terms:
    return terms_of(override(preset("smoke"), settings))


DIGITS, CLOTHES = terms(), terms("data.dataset=fashion_mnist")


def test_a_run_for_another_purpose_ends_here(serving: Path) -> None:
    pushed(serving, model="a", terms=DIGITS.plain())
    with pytest.raises(ConfigError, match="the data set is fashion_mnist, not mnist"):
        answers(serving, terms=CLOTHES.to_json())
    assert answers(serving, terms=DIGITS.to_json())["version"]


def test_a_run_that_asks_for_less_ends_here(serving: Path) -> None:
    pushed(serving, model="a", terms=DIGITS.plain())
    less = terms("gates.clean=0.5").to_json()
    with pytest.raises(ConfigError, match="asks for less"):
        answers(serving, terms=less)
    force = Mandate(force=True, signature=signed("now")).to_json()
    found = answers(serving, terms=less, mandate=force)
    assert found["version"] == found["served"] != ""


def test_a_purpose_that_is_replaced_begins_without_a_champion(serving: Path) -> None:
    """The Pusher must know all the same what was served."""
    version = str(serving / pushed(serving, model="a", terms=DIGITS.plain()))
    replace = Mandate(replace=True, signature=signed("clothes")).to_json()
    found = answers(serving, terms=CLOTHES.to_json(), mandate=replace)
    assert (found["version"], found["served"]) == ("", version)
    assert found["not_compared"].startswith("the purpose was replaced: the data set is fashion")
    assert not answers(serving, terms=DIGITS.to_json())["not_compared"]


def test_the_best_worst_case_is_looked_up_where_a_gate_asks(serving: Path) -> None:
    asked = terms("gates.best=0.01").to_json()
    assert answers(serving, terms=DIGITS.to_json())["best"] == ""
    nothing = json.loads(answers(serving, terms=asked)["best"])
    assert nothing["reason"].startswith("no version that was tried as hard was ever pushed for")
    best = pushed(serving, model="a", terms=DIGITS.plain(), worst_case=0.35)
    pushed(serving, model="b", terms=DIGITS.plain(), worst_case=0.34)
    found = json.loads(answers(serving, terms=asked)["best"])
    assert found == {"worst_case": 0.35, "version": best}


def test_a_model_that_was_only_blessed_is_no_champion(tmp_path: Path) -> None:
    """The third run is blessed here too, and nothing of it was pushed."""
    root = three_runs(tmp_path)
    with root.metadata() as store:
        for blessing in store.get_artifacts_by_type("ModelBlessing"):
            blessing.custom_properties["blessed"].int_value = 1
            store.put_artifacts([blessing])
    assert latest_blessed(root) == "run-3"
    version = served_version(str(root.serving))
    assert Path(version, "saved_model.pb").read_text() == "run-2"
