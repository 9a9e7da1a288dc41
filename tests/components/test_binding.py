"""What binds a folder of versions: gates.toml, the cards, and who answers for a difference; without
TensorFlow."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pushed_versions import push

from components.binding import Agreement, account, agree, fields_of_forced, fields_of_push, is_news
from components.bound import FILE, best_worst_case, bind, bound_by, listed, seen_in
from components.changes import Signature, signed, whoami
from components.journal import Entry, append
from components.mandate import Mandate
from components.policy import Terms
from components.versions import CARD, Card, PushedBy
from foundation.errors import ConfigError
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of

NOBODY = Mandate()
REPLACE = Mandate(replace=True, signature=Signature(by="ada", at="now", reason="clothes now"))
FORCE = Mandate(force=True, signature=Signature(by="ada", at="now", reason="an emergency"))
SUBMITTED = f'{whoami()}, submitted by "ada"'


def terms(name: str = "robust", *settings: str) -> Terms:
    return terms_of(override(preset(name), settings))


class Place:
    """A folder of versions, to which models are pushed as the Pusher does, without their files."""

    def __init__(self, root: Path) -> None:
        self.root, self.serving = root, str(root / "serving")
        self.file = root / "serving" / FILE
        self.number = 0

    def push(self, own: Terms, mandate: Mandate = NOBODY, **card: Any) -> Card:
        fields = fields_of_push(self.serving, account(own, mandate.to_json(), 0, "c"))
        return self.add(Card(**({"worst_case": 0.94} | fields | card)))

    def add(self, card: Card) -> Card:
        self.number += 1
        push(self.root, str(self.number), card)
        bind(self.serving)
        return card

    def agree(self, own: Terms, mandate: Mandate = NOBODY) -> Agreement:
        return agree(self.serving, own, mandate)

    def bound(self) -> Terms:
        bound = bound_by(self.serving)
        assert bound
        return bound.terms


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def robust(place: Place) -> Place:
    """A place to which a model of `robust` was pushed."""
    place.push(terms())
    return place


def test_the_first_push_binds(place: Place) -> None:
    assert place.agree(terms()) == Agreement()
    card = place.push(terms())
    assert Terms.from_toml(place.file.read_text()) == terms()
    assert card.terms_sha256 == terms().digest()
    assert (card.terms, card.kind, card.seed, card.code) == (terms().plain(), "run", 0, "c")
    assert (card.by, card.reason, card.lowered) == (None, None, ())
    assert place.agree(terms()) == Agreement()


def test_two_presets_in_one_root(robust: Place) -> None:
    """`gauntlet run` and then `gauntlet run --preset fashion`: digits must not become clothes."""
    with pytest.raises(ConfigError) as error:
        robust.agree(terms("fashion"))
    said = str(error.value)
    assert "- the data set is fashion_mnist, not mnist" in said
    assert "- epsilon is 0.1, not 0.2" in said
    for way in (str(robust.file), "another --root", '--replace --reason "..."', "gates --root"):
        assert way in said
    with pytest.raises(ConfigError, match="another purpose"):
        robust.push(terms("fashion"))
    with pytest.raises(ConfigError, match="another purpose"):
        robust.agree(terms("fashion"), FORCE)


def test_a_tiny_epsilon(robust: Place) -> None:
    with pytest.raises(ConfigError, match=r"epsilon is 0\.01, not 0\.2"):
        robust.agree(terms("tutorial", "threat.epsilon=0.01"))


def test_a_purpose_that_is_replaced_is_recorded_and_binds(robust: Place) -> None:
    agreement = robust.agree(terms("fashion"), REPLACE)
    assert agreement.kind is PushedBy.REPLACED
    assert agreement.not_compared.startswith("the purpose was replaced: the data set is fashion")
    assert agreement.lowered == ()
    card = robust.push(terms("fashion"), REPLACE)
    assert (card.kind, card.by, card.at) == ("replaced", SUBMITTED, "now")
    assert card.reason == "clothes now"
    assert "the data set is fashion_mnist, not mnist" in card.replaced
    assert Terms.from_toml(robust.file.read_text()) == terms("fashion")
    assert robust.agree(terms("fashion")).kind is PushedBy.RUN
    with pytest.raises(ConfigError, match="the data set is mnist, not fashion_mnist"):
        robust.agree(terms())


LOWER = terms("robust", "gates.worst_case=0.5", "gates.certified=0", "gates.checks=")


def test_a_weaker_policy(robust: Place) -> None:
    for mandate in (NOBODY, REPLACE):
        with pytest.raises(ConfigError) as error:
            robust.agree(LOWER, mandate)
        said = str(error.value)
        assert "- gates.worst_case is 0.5, which asks for less than 0.93" in said
        assert "- gates.checks is without logits_are_finite" in said
        assert '--force --reason "..."' in said


def test_a_forced_run_is_recorded_and_binds_nobody(robust: Place) -> None:
    before = robust.file.read_bytes()
    card = robust.push(LOWER, FORCE)
    assert (card.kind, card.by, card.reason) == ("run", SUBMITTED, "an emergency")
    assert len(card.lowered) == 3
    assert card.terms == LOWER.plain()
    assert robust.file.read_bytes() == before
    with pytest.raises(ConfigError, match="asks for less than"):
        robust.agree(LOWER)
    assert robust.agree(terms()) == Agreement()


def test_a_forced_run_does_not_lower_what_the_cards_remember(robust: Place) -> None:
    """Force once, then edit the file to what was forced, or remove it."""
    robust.push(LOWER, FORCE)
    robust.file.write_text(LOWER.to_toml())
    with pytest.raises(ConfigError, match=f"{FILE} asks for less than the card of version 1"):
        robust.agree(LOWER)
    robust.file.unlink()
    with pytest.raises(ConfigError, match=f"{FILE} is gone"):
        robust.agree(LOWER)
    bind(robust.serving)
    assert Terms.from_toml(robust.file.read_text()) == terms()


def test_a_stricter_policy_is_taken_and_written_at_the_push(robust: Place) -> None:
    stricter = terms("robust", "gates.worst_case=0.94", "gates.best=0.01")
    (note,) = robust.agree(stricter).notes
    assert "gates.worst_case is 0.93, which asks for less than 0.94" in note
    assert Terms.from_toml(robust.file.read_text()) == terms()
    robust.push(stricter)
    assert Terms.from_toml(robust.file.read_text()) == stricter
    with pytest.raises(ConfigError, match=r"gates\.best is 0, which compares nothing"):
        robust.agree(terms())


def test_a_stricter_file_by_hand_counts(robust: Place) -> None:
    robust.file.write_text(robust.file.read_text().replace("clean = 0.98", "clean = 0.985"))
    with pytest.raises(ConfigError, match=r"gates.clean is 0.98, which asks for less than 0.985"):
        robust.agree(terms())


def test_comments_of_a_reviewer_stay(robust: Place) -> None:
    text = f"# reviewed by ada\n{robust.file.read_text()}"
    robust.file.write_text(text)
    robust.push(terms())
    assert robust.file.read_text() == text


def test_what_a_killed_write_left_goes_with_the_next_one(robust: Place) -> None:
    left = robust.file.with_name(f".{FILE}.a.partial.toml")
    left.touch()
    robust.push(terms())
    assert not left.exists()


EDITS = [
    ("worst_case = 0.93", "worst_case = 0.5"),
    ("epsilon = 0.2", "epsilon = 0.01"),
    ('dataset = "mnist"', 'dataset = "fashion_mnist"'),
    ("checks = true", "checks = false"),
    ("queries = 5000", "queries = 50"),
    ('test = "test"', 'test = "train"'),
]


@pytest.mark.parametrize("edit", EDITS, ids=[new for _, new in EDITS])
def test_an_edited_file_does_not_count_and_is_named(robust: Place, edit: tuple[str, str]) -> None:
    robust.file.write_text(robust.file.read_text().replace(*edit))
    (note,) = robust.agree(terms()).notes
    assert str(robust.file) in note
    assert "the card of version 1" in note
    assert robust.bound() == terms()
    bind(robust.serving)
    assert Terms.from_toml(robust.file.read_text()) == terms()


def test_an_edit_that_asks_for_less_is_signed_and_counts_from_then_on(robust: Place) -> None:
    less = terms("robust", "gates.worst_case=0.92")
    robust.file.write_text(less.to_toml())
    with pytest.raises(ConfigError, match=r"To let the edited gates\.toml count .*--replace"):
        robust.agree(less)
    agreement = robust.agree(less, REPLACE)
    assert (agreement.kind, agreement.not_compared) == (PushedBy.REPLACED, "")
    card = robust.push(less, REPLACE)
    assert (card.kind, card.by, len(card.lowered)) == ("replaced", SUBMITTED, 1)
    assert card.replaced == ()
    assert robust.agree(less) == Agreement()
    with pytest.raises(ConfigError, match=r"gates\.worst_case is 0\.9, "):
        robust.agree(terms("robust", "gates.worst_case=0.9", "gates.certified=0.9"))


def test_an_edit_that_asks_for_less_can_be_forced_once(robust: Place) -> None:
    less = terms("robust", "gates.worst_case=0.92")
    robust.file.write_text(less.to_toml())
    assert robust.agree(less, FORCE).lowered
    robust.push(less, FORCE)
    assert Terms.from_toml(robust.file.read_text()) == terms(), "what binds is written again"
    with pytest.raises(ConfigError, match="this run asks for less than"):
        robust.agree(less)


@pytest.mark.parametrize("text", ["", "[purpose", "\x00", "[purpose]\n", "a = 1"])
def test_a_damaged_file_is_refused_by_name(robust: Place, text: str) -> None:
    robust.file.write_text(text)
    for mandate in (NOBODY, REPLACE, FORCE):
        with pytest.raises(ConfigError, match=f"{robust.file} cannot be read as terms"):
            robust.agree(terms(), mandate)


def test_a_file_that_is_no_text(robust: Place) -> None:
    robust.file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as terms"):
        robust.agree(terms())
    robust.file.unlink()
    robust.file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read as terms"):
        robust.agree(terms())


def test_versions_without_terms_are_adopted_at_the_next_push_and_that_is_said(
    place: Place,
) -> None:
    """What earlier versions pushed."""
    place.add(Card(model="old"))
    assert not place.file.exists()
    (note,) = place.agree(terms("fashion")).notes
    assert "the next push binds it" in note
    place.push(terms("fashion"))
    assert Terms.from_toml(place.file.read_text()) == terms("fashion")


def test_a_card_that_is_damaged_is_passed_over(robust: Place) -> None:
    robust.file.unlink()
    damaged = robust.add(Card(model="c"))
    (robust.root / "serving" / "2" / CARD).write_text("")
    assert damaged
    assert robust.bound() == terms()
    assert [each.version for each in listed(robust.serving)] == ["1"]


@pytest.mark.parametrize("file", [True, False])
def test_terms_of_a_later_version_stop_a_run_until_they_are_replaced(
    robust: Place, file: bool
) -> None:
    later = terms().plain()
    later["gates"] |= {"novel": 0.5}
    push(robust.root, "2", Card(model="b", terms=later, terms_sha256="x"))
    robust.number = 2
    if not file:
        robust.file.unlink()
    said = r"the terms of version 2 cannot be read: unknown: gates\.novel.*--replace --reason"
    for mandate in (NOBODY, FORCE):
        with pytest.raises(ConfigError, match=said):
            robust.agree(terms(), mandate)
        with pytest.raises(ConfigError, match=said):
            robust.push(terms(), mandate)
    with pytest.raises(ConfigError, match=said):
        fields_of_forced(robust.serving, account(terms(), "", 0, ""))
    with pytest.raises(ConfigError, match=said):
        bind(robust.serving)
    assert robust.agree(terms(), REPLACE).kind is PushedBy.REPLACED
    assert robust.push(terms(), REPLACE).kind is PushedBy.REPLACED
    assert robust.agree(terms()) == Agreement()
    assert robust.bound() == terms()


def test_a_file_of_a_later_version_is_not_to_be_removed(robust: Place) -> None:
    robust.file.write_text(robust.file.read_text().replace("[gates]", "[gates]\nnovel = 0.5"))
    with pytest.raises(ConfigError, match=r"unknown: gates\.novel") as error:
        robust.agree(terms())
    assert "remove" not in str(error.value)


def noted(place: Place, version: str, own: Terms) -> None:
    """The journal has a push; '' for one that was killed before its version appeared."""
    card = Card(model=version, terms=own.plain())
    append(place.serving, Entry(what="run", version=version, card=card.plain()))


@pytest.mark.parametrize("edited", [False, True])
def test_where_all_versions_are_gone_the_journal_counts(robust: Place, edited: bool) -> None:
    """Who removes the versions and gates.toml would otherwise push whatever they like."""
    noted(robust, "1", terms())
    noted(robust, "", terms("fashion"))
    shutil.rmtree(robust.root / "serving" / "1")
    if edited:
        robust.file.write_text(LOWER.to_toml())
    else:
        robust.file.unlink()
    for own in (terms("fashion"), LOWER):
        with pytest.raises(ConfigError, match=r"the journal's card of version 1"):
            robust.agree(own)
    (note,) = robust.agree(terms()).notes
    assert "the journal's card of version 1 counts" in note
    bind(robust.serving)
    assert Terms.from_toml(robust.file.read_text()) == terms()


def test_a_version_that_was_taken_away_still_binds(robust: Place) -> None:
    """Neither an earlier version nor one that was forced once lowers what the one had to reach that
    somebody has removed, whatever they wrote into gates.toml."""
    noted(robust, "1", terms())
    stricter = terms("robust", "gates.clean=0.99")
    robust.push(stricter)
    noted(robust, "2", stricter)
    robust.push(LOWER, FORCE)
    shutil.rmtree(robust.root / "serving" / "2")
    robust.file.write_text(LOWER.to_toml())
    assert robust.bound() == stricter
    with pytest.raises(ConfigError, match=r"asks for less than the journal's card of version 2"):
        robust.agree(terms())


def test_a_rollback_to_a_model_for_another_purpose(robust: Place) -> None:
    """The served model says what the place is for; clothes would otherwise meet digits."""
    robust.push(terms("fashion"), REPLACE)
    first = Card(kind=PushedBy.ROLLBACK, of="1", terms=terms().plain(), by="ada")
    robust.add(first)
    assert robust.bound() == terms()
    assert robust.agree(terms()) == Agreement()
    with pytest.raises(ConfigError, match="the data set is fashion_mnist, not mnist"):
        robust.agree(terms("fashion"))


def test_a_rollback_lowers_no_policy(place: Place) -> None:
    place.push(terms("tutorial"))
    place.push(terms("robust"))
    place.add(Card(kind=PushedBy.ROLLBACK, of="1", terms=terms("tutorial").plain(), by="ada"))
    place.file.write_text(terms("tutorial").to_toml())
    with pytest.raises(ConfigError, match="the card of version 2"):
        place.agree(terms("tutorial"))


def forced(place: Place, own: Terms, mandate: Mandate = NOBODY) -> Card:
    """What `gauntlet bless --force` does with the model of a run."""
    fields = fields_of_forced(place.serving, account(own, mandate.to_json(), 3, "c"))
    return place.add(Card(kind=PushedBy.FORCED, by="ada", reason="now", **fields))


def test_a_push_by_hand_says_how_it_was_judged(robust: Place) -> None:
    card = forced(robust, LOWER)
    assert (len(card.lowered), card.terms, card.seed) == (3, LOWER.plain(), 3)
    assert robust.bound() == terms()


def test_a_push_by_hand_sets_no_policy(place: Place) -> None:
    """Not even a stricter one, which the model has failed: the runs before stay what they were."""
    place.push(terms("smoke"))
    card = forced(place, terms("smoke", "gates.worst_case=0.5"))
    assert card.lowered == ()
    assert place.bound() == terms("smoke")
    assert place.agree(terms("smoke")) == Agreement()


def test_a_first_push_by_hand_binds_to_the_purpose_alone(place: Place) -> None:
    forced(place, terms())
    assert place.bound().purpose == terms().purpose
    assert place.file.exists()
    for own in (LOWER, terms(), terms("smoke", "data.test=test[:10]")):
        assert place.agree(own).kind is PushedBy.RUN
    with pytest.raises(ConfigError, match="the data set is fashion_mnist"):
        place.agree(terms("fashion"))
    place.push(LOWER)
    assert place.bound() == LOWER


def test_a_push_by_hand_replaces_a_purpose_only_where_its_run_might(robust: Place) -> None:
    with pytest.raises(ConfigError, match=r"another purpose than .*the data set is fashion"):
        forced(robust, terms("fashion"))
    assert forced(robust, terms("fashion"), REPLACE).replaced
    assert robust.bound().purpose == terms("fashion").purpose
    assert robust.agree(terms("fashion", "gates.clean=0.5")).kind is PushedBy.RUN


@pytest.mark.parametrize("mandate", [REPLACE, FORCE])
@pytest.mark.parametrize("own", [terms(), terms("robust", "gates.clean=0.99")])
def test_what_is_allowed_without_need_is_harmless_and_said(
    robust: Place, mandate: Mandate, own: Terms
) -> None:
    agreement = robust.agree(own, mandate)
    assert (agreement.kind, agreement.lowered, agreement.differences) == (PushedBy.RUN, (), ())
    assert any("is not needed" in note for note in agreement.notes)
    card = robust.push(own, mandate)
    assert (card.by, card.reason) == (None, None)


def test_the_first_push_needs_no_mandate(place: Place) -> None:
    assert any("is not needed" in note for note in place.agree(terms(), REPLACE).notes)


NO_MANDATES = (
    "{",
    "[]",
    "3",
    '{"x": 1}',
    '{"force": true, "signature": {"by": "a"}}',
    '{"force": true, "signature": {"by": "a", "at": "now", "reason": 7}}',
    '{"force": true, "signature": {"by": "a", "at": "now", "reason": " "}}',
    '{"force": 1, "signature": {"by": "a", "at": "now", "reason": "b"}}',
    '{"force": true, "x": 1, "signature": {"by": "a", "at": "now", "reason": "b"}}',
)


@pytest.mark.parametrize("text", NO_MANDATES)
def test_a_mandate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="mandate"):
        Mandate.of_json(text)


def test_a_mandate_reads_back() -> None:
    for mandate in (NOBODY, REPLACE, FORCE):
        assert Mandate.of_json(mandate.to_json()) == mandate


def test_whoever_signs_and_pushes_is_no_claim(robust: Place) -> None:
    """On a platform the mandate is a parameter, which anybody may set who can start a run."""
    own = Mandate(force=True, signature=signed("an emergency"))
    assert robust.push(LOWER, own).by == whoami()
    assert robust.push(LOWER, FORCE).by == SUBMITTED


def test_another_pipeline_pushes_without_terms(place: Place) -> None:
    assert fields_of_push(place.serving, {}) == {"kind": "run"}
    bind(place.serving)
    assert not place.file.exists()


def test_a_push_to_a_place_that_was_bound_otherwise_meanwhile(place: Place) -> None:
    assert place.agree(terms("fashion")) == Agreement()
    place.push(terms())
    with pytest.raises(ConfigError, match="another purpose"):
        place.push(terms("fashion"))


def test_a_purpose_that_comes_back_asks_for_less_and_that_is_recorded(robust: Place) -> None:
    """Away by one signature and back by another would lower a policy without a word."""
    robust.push(terms("fashion"), REPLACE)
    agreement = robust.agree(LOWER, REPLACE)
    assert len(agreement.lowered) == 3
    assert any("asks for less than before for this purpose" in note for note in agreement.notes)
    card = robust.push(LOWER, REPLACE)
    assert (card.kind, len(card.lowered)) == ("replaced", 3)
    assert robust.agree(LOWER) == Agreement()


def test_what_a_card_must_say_of_a_model_that_is_served_already(robust: Place) -> None:
    def news(own: Terms, mandate: Mandate = NOBODY) -> bool:
        run = account(own, mandate.to_json(), 0, "")
        return is_news(robust.serving, fields_of_push(robust.serving, run))

    assert not news(terms())
    assert news(terms("robust", "gates.clean=0.99"))
    assert not news(LOWER, FORCE)
    assert news(terms("fashion"), REPLACE)
    assert not is_news(robust.serving, fields_of_push(robust.serving, {}))
    robust.file.write_text(robust.file.read_text().replace("clean = 0.98", "clean = 0.99"))
    assert news(terms("robust", "gates.clean=0.99")), "only the file says it so far"


def test_the_best_worst_case_of_a_purpose(robust: Place) -> None:
    """Small losses add up: the third is a point below the first, and lost half a point each."""
    robust.push(terms(), worst_case=0.935)
    robust.push(terms(), worst_case=0.93)
    robust.push(LOWER, FORCE, worst_case=0.97)  # the same attacks, though lower gates
    weak = terms("robust", "attack.suite=fast", "gates.required=")
    robust.push(weak, FORCE, worst_case=0.99)
    robust.push(terms("robust", "data.test=test[:100]"), FORCE, worst_case=1.0)
    robust.add(Card(model="old", worst_case=1.0))
    best = best_worst_case(listed(robust.serving), terms())
    assert best
    assert (best.worst_case, best.version) == (0.97, "4")
    by_weak = best_worst_case(listed(robust.serving), weak)
    assert by_weak
    assert by_weak.version == "5"
    assert best_worst_case(listed(robust.serving), terms("fashion")) is None


def test_a_comparison_is_made_again_where_anything_changed(robust: Place) -> None:
    before = seen_in(robust.serving)
    assert seen_in(robust.serving) == before
    robust.file.write_text(f"{robust.file.read_text()}# x\n")
    edited = seen_in(robust.serving)
    robust.push(terms())
    assert len({before, edited, seen_in(robust.serving), seen_in("/nowhere")}) == 4


def test_who_may_read_the_versions_may_read_their_terms_whatever_the_umask(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving").chmod(0o2775)
    before = os.umask(0o077)
    try:
        place.push(terms())
        assert place.file.stat().st_mode & 0o777 == 0o664
        place.file.chmod(0o644)
        place.push(terms("robust", "gates.worst_case=0.97"))
    finally:
        os.umask(before)
    assert "0.97" in place.file.read_text()
    assert place.file.stat().st_mode & 0o777 == 0o644, "an existing one keeps its mode"
