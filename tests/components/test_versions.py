"""Cards and listings of pushed versions, without TensorFlow."""

import json
from pathlib import Path

import pytest

from components.journal import Entry, append
from components.manifest import digest
from components.versions import (
    CARD,
    NO_CARD,
    STRAY,
    Card,
    PushedBy,
    Version,
    list_versions,
    read_card,
    same_model,
    unnoted,
    unreadable,
    withdrawn_by,
)
from foundation.errors import RunError
from foundation.versions import SAVED_MODEL, newest_version, numbers, versions


def version(base: Path, number: str, card: str | None = None) -> str:
    (base / number).mkdir(parents=True)
    (base / number / SAVED_MODEL).touch()
    if card is not None:
        (base / number / CARD).parent.mkdir()
        (base / number / CARD).write_text(card)
    return str(base / number)


def test_versions_are_numbers_in_order(tmp_path: Path) -> None:
    for name in ("9", "10", ".staging-11", "latest"):
        version(tmp_path, name)
    assert versions(str(tmp_path)) == ["9", "10"]
    assert newest_version(str(tmp_path)) == "10"
    assert newest_version(str(tmp_path / "nowhere")) is None


def test_a_folder_without_a_model_is_a_number_and_no_version(tmp_path: Path) -> None:
    for name in ("9", "10", "11"):
        version(tmp_path, name)
    for name in ("10", "11"):
        (tmp_path / name / SAVED_MODEL).unlink()
    assert versions(str(tmp_path)) == ["9"]
    assert newest_version(str(tmp_path)) == "9"
    assert numbers(str(tmp_path)) == ["9", "10", "11"]
    assert [entry.serving for entry in list_versions(str(tmp_path))] == [True]


def test_what_an_earlier_version_wrote_is_read_and_shown_as_it_is(tmp_path: Path) -> None:
    content = {
        "model": "/m", "model_id": 9, "clean": 0.95, "worst_case": 0.3, "certified": None,
        "kind": "rollback", "of": "3", "by": "ada", "at": "now", "reason": "", "run_id": "r",
        "pushed_at": "then",
    }  # fmt: skip
    card = read_card(version(tmp_path, "4", json.dumps(content | {"unknown": 1})))
    assert (card.kind, card.of, card.clean, card.certified) == (PushedBy.ROLLBACK, "3", 0.95, None)
    assert card.plain() == content


def test_versions_without_a_card_are_listed(tmp_path: Path) -> None:
    version(tmp_path, "1")
    version(tmp_path, "2", "{}")
    assert list_versions(str(tmp_path)) == [
        Version(version="1", serving=False, card=Card(), problem=NO_CARD),
        Version(version="2", serving=True, card=Card()),
    ]


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "{", '{"kind": "x"}', '{"clean": "high"}', '{"model_id": [1]}']
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str) -> None:
    card = tmp_path / "7" / CARD
    card.parent.mkdir(parents=True)
    card.write_text(text)
    with pytest.raises(RunError, match=f"the card of version {tmp_path}/7 is damaged"):
        read_card(f"{tmp_path}/7")


@pytest.mark.parametrize(
    "name", ["\u00b2", "\u0663", "9999999999999999999", "-5", "1.5", "x", "0", "017"]
)
def test_what_tensorflow_serving_takes_for_no_number_is_none(tmp_path: Path, name: str) -> None:
    for folder in (name, "17"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "saved_model.pb").touch()
    assert versions(str(tmp_path)) == ["17"]


@pytest.mark.parametrize("text", ["", "null", '{"of": "../../etc"}', '{"of": "007"}'])
def test_a_damaged_card_stops_no_listing(tmp_path: Path, text: str) -> None:
    version(tmp_path, "7", text)
    version(tmp_path, "8", "{}")
    damaged, intact = list_versions(str(tmp_path))
    assert (damaged.damaged, intact.damaged) == (True, False)
    assert damaged.problem.startswith("its card is damaged: ")
    assert withdrawn_by(str(tmp_path), "x") is None


def test_a_card_cannot_say_which_version_it_is(tmp_path: Path) -> None:
    version(tmp_path, "7", '{"version": "/etc/ssl", "problem": "", "serving": false}')
    (listed,) = list_versions(str(tmp_path))
    assert (listed.version, listed.serving) == ("7", True)


def test_the_same_address_with_other_files_is_another_model() -> None:
    one = Card(model="m", manifest_sha256="a")
    assert same_model(one, Card(model="m", manifest_sha256="a"))
    assert same_model(one, Card(model="m")), "of before there were manifests"
    assert not same_model(one, Card(model="m", manifest_sha256="b"))
    assert not same_model(one, Card(model="n", manifest_sha256="a"))


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("copy", ["1", "3", "5"])
def test_a_push_accounts_for_one_version_only(tmp_path: Path, done: bool, copy: str) -> None:
    """Also where it was killed before it noted that the version is there."""
    text = json.dumps(Card(model="m", kind=PushedBy.ROLLBACK).plain())
    sha256, other = digest(text.encode()), digest(b"{}")
    append(str(tmp_path), Entry(what="run", card_sha256=sha256))
    if done:
        append(str(tmp_path), Entry(what="run", card_sha256=sha256, version="2"))
    append(str(tmp_path), Entry(what="run", card_sha256=other, version="4"))
    version(tmp_path, "2", text)
    version(tmp_path, "4", "{}")
    version(tmp_path, copy, text)
    problems = {each.version: each.problem for each in list_versions(str(tmp_path))}
    assert [*problems.values()].count(STRAY) == 1
    assert problems["2"] == "" or (copy == "1" and not done)


def test_what_nobody_pushed_lifts_no_withdrawal_and_withdraws_nothing(tmp_path: Path) -> None:
    serving = str(tmp_path)
    pushed = {"1": Card(model="a"), "2": Card(model="b"), "3": Card(model="a", kind="rollback")}
    for number, card in pushed.items():
        text = json.dumps(card.plain())
        version(tmp_path, number, text)
        append(serving, Entry(what="x", card_sha256=digest(text.encode()), version=number))
    assert withdrawn_by(serving, "b")
    version(tmp_path, "4", json.dumps(pushed["2"].plain()))
    assert withdrawn_by(serving, "b")
    version(tmp_path, "5", json.dumps(Card(model="0", kind="rollback").plain()))
    assert withdrawn_by(serving, "a") is None


def test_a_journal_that_has_lost_versions_is_told_of(tmp_path: Path) -> None:
    serving = str(tmp_path)
    texts = {name: json.dumps(Card(model=name, manifest_sha256="x").plain()) for name in "23"}
    version(tmp_path, "1", "{}")  # of before there were journals
    assert unnoted(serving, list_versions(serving)) == ""
    for number, text in texts.items():
        version(tmp_path, number, text)
    assert "has no line on 2, 3: it was removed" in unnoted(serving, list_versions(serving))
    append(serving, Entry(what="run", card_sha256=digest(texts["3"].encode()), version="3"))
    assert "has no line on 2: it was removed" in unnoted(serving, list_versions(serving))
    append(serving, Entry(what="run", card_sha256=digest(texts["2"].encode()), version="2"))
    assert unnoted(serving, list_versions(serving)) == ""
    assert unnoted("gs://bucket/serving", list_versions(serving)) == ""


@pytest.mark.parametrize("text", ["", None])
def test_a_version_of_which_nobody_knows_what_it_was(tmp_path: Path, text: str | None) -> None:
    version(tmp_path, "1")  # of before there were cards
    version(tmp_path, "2", "{}")
    assert unreadable(str(tmp_path)) == []
    version(tmp_path, "3", text)
    version(tmp_path, "4", "{}")
    assert [each.version for each in unreadable(str(tmp_path))] == ["3"]
    append(str(tmp_path), Entry(what="run", version="3", card_sha256="as it was"))
    append(str(tmp_path), Entry(what="run", version="4", card_sha256=digest(b"{}")))
    assert unreadable(str(tmp_path)) == []
