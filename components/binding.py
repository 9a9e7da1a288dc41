"""By which terms a folder of pushed versions is bound, and whether a run may push there.

The terms stand in `gates.toml` beside the versions, whose names are numbers, so TensorFlow Serving
passes over it; and in the card of each version. The file can be reviewed and edited, the cards
remember: where the file is gone, or asks for less than the newest card, the card counts; where no
version is left that has terms, the card in the journal.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from etils import epath

from components.changes import Signature, whoami
from components.journal import read
from components.policy import ASKS_NOTHING, Purpose, Terms
from components.versions import STRAY, Card, PushedBy, Version, card_of_entry, list_versions
from foundation.errors import ConfigError
from foundation.json import dumps
from foundation.locks import serving_lock
from foundation.rights import of_file
from foundation.versions import versions
from foundation.whole import write_text

log = logging.getLogger("gauntlet.terms")

FILE = "gates.toml"
"""Name of the file with the terms, beside the versions."""

REPLACED = "the purpose was replaced"
"""How the reason begins for which a model was not compared with the champion before it."""

REPLACE = '--replace --reason "..."'
FORCE = '--force --reason "..."'
PLACES = "another --root (on a platform --name or --store)"


NOBODY = Signature(by="", at="", reason="")


@dataclass(frozen=True, kw_only=True)
class Mandate:
    """What whoever starts a run answers for: that it may replace the purpose, or may push under a
    weaker policy; and who that is, when it was said and why."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    replace: bool = False
    force: bool = False
    signature: Signature = NOBODY

    def to_json(self) -> str:
        """The mandate in one line; '' where nothing is allowed."""
        return dumps(self, indent=None) if self.replace or self.force else ""

    @classmethod
    def of_json(cls, text: str) -> "Mandate":
        """Inverse of `to_json`; raises ConfigError where it is none, or has no reason."""
        if not text:
            return cls()
        try:
            mandate = pydantic.TypeAdapter(cls).validate_json(text, strict=True)
        except ValueError as error:
            raise ConfigError(f"this is no mandate to replace or to force: {text}") from error
        if not (mandate.signature.by and mandate.signature.reason.strip()):
            raise ConfigError(f"a mandate says who gives it and why: {text}")
        return mandate

    def signed_here(self) -> Signature:
        """The signature as the process that pushes can answer for it: of whoever signed elsewhere,
        as on a platform, nothing is known but what was submitted."""
        if self.signature.by == (here := whoami()):
            return self.signature
        by = json.dumps(self.signature.by, ensure_ascii=False, allow_nan=False)
        return dataclasses.replace(self.signature, by=f"{here}, submitted by {by}")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The terms that count for a folder, and where they stand.

    file: those of gates.toml; None where there is none. doubt: why the file does not count, where
    it does not.
    """

    terms: Terms
    source: str
    file: Terms | None
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What a run may do in a folder.

    differences: from the purpose that is replaced. lowered: in what its policy asks for less, where
    that was forced, or goes with an edit of the file. binds: whether its terms are those of the
    folder from its push on. notes: what a user should know.
    """

    differences: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()
    binds: bool = True
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> PushedBy:
        """How its push is recorded."""
        replaced = self.differences or (self.lowered and self.binds)
        return PushedBy.REPLACED if replaced else PushedBy.RUN

    @property
    def not_compared(self) -> str:
        """Why its model is not compared with the one that is served; '' where it is."""
        return f"{REPLACED}: {'; '.join(self.differences)}" if self.differences else ""


class UnreadableTerms(ConfigError):
    """What binds a folder cannot be read: the reason alone is the argument."""

    def __str__(self) -> str:
        return (
            f"{self.args[0]}. A later Gauntlet may have written them: use that one, or replace "
            f"them by a run with {REPLACE}"
        )


def file_in(serving: str) -> Any:
    """Where the terms of a folder of versions stand."""
    return epath.Path(serving) / FILE


def read_terms(path: Any) -> Terms | None:
    """The terms in a file; None where there is no such file.

    Raises:
        ConfigError: it is damaged, or says what no terms say.
    """
    file = epath.Path(path)
    if not file.exists():
        return None
    try:
        return Terms.from_toml(file.read_text())
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read as terms of models: {error}. Restore it, or write it again "
            "with `gauntlet gates --toml`"
        ) from error


def bound_by(serving: str) -> Bound | None:
    """The terms of a folder of versions; None where none are known, to the journal either.

    Raises:
        ConfigError: the file is damaged. UnreadableTerms: the card is of a later version.
    """
    file = file_in(serving)
    written, known, where = read_terms(file), deciding(listed(serving)), "the card of version"
    if known is None:
        known, where = deciding(_gone(serving)), "the journal's card of version"
    if known is None:
        return Bound(terms=written, source=str(file), file=written) if written else None
    version, terms = known
    source = f"{where} {version}"
    if written is None:
        return Bound(terms=terms, source=source, file=None, doubt=f"{file} is gone")
    if lost := written.purpose.differences(terms.purpose):
        doubt = f"{file} is not what {source} says: {'; '.join(lost)}"
    elif lost := written.policy.weaker(terms.policy):
        doubt = f"{file} asks for less than {source}: {'; '.join(lost)}"
    else:
        return Bound(terms=written, source=str(file), file=written)
    return Bound(terms=terms, source=source, file=written, doubt=doubt)


def listed(serving: str) -> list[Version]:
    """The versions that somebody pushed and whose cards are known, oldest first. Where a card was
    changed, the one of the journal counts."""
    known = list_versions(serving)
    for version in known:
        if version.damaged:
            log.warning("version %s in %s: %s", version.version, serving, version.problem)
    return [each for each in known if each.problem != STRAY and each.card != Card()]


def _gone(serving: str) -> list[Version]:
    """The versions that the journal knows, whether they are there or not, the oldest first."""
    return [
        Version(version=entry.version, serving=False, card=card_of_entry(entry))
        for entry in read(serving).entries
        if entry.version and entry.card
    ]


def deciding(pushed: Iterable[Version]) -> tuple[str, Terms] | None:
    """The version whose card has the terms that count, and these; None where no card has any. The
    purpose is that of the newest version, the policy that of the newest push for this purpose which
    was neither by hand, nor forced once, nor a rollback. A push by hand sets no policy.

    Raises:
        UnreadableTerms: a newer card has terms that cannot be read.
    """
    pushed = [each for each in pushed if each.card.terms]
    known = [(each, terms) for each in pushed if (terms := terms_in(each.card))]
    counts = _counting(known) if known else None
    for each in pushed[pushed.index(counts[0]) if counts else 0 :]:
        try:
            Terms.of_plain(each.card.terms)
        except ConfigError as error:
            raise UnreadableTerms(
                f"the terms of version {each.version} cannot be read: {error}"
            ) from error
    return (counts[0].version, counts[1]) if counts else None


def _counting(known: list[tuple[Version, Terms]]) -> tuple[Version, Terms]:
    newest, last = known[-1]
    same = [each for each in known if not each[1].purpose.differences(last.purpose)]
    passed = [each for each in same if not _is_by_hand(each[0].card)]
    own = [each for each in passed if _binds(each[0].card)] or passed
    if not own:
        return newest, Terms(purpose=last.purpose, policy=ASKS_NOTHING)
    return own[-1]


def _is_by_hand(card: Card) -> bool:
    """Whether somebody pushed a model that the gates refused, or rolled back to one."""
    return card.kind is PushedBy.FORCED or bool(card.refused_by)


def _binds(card: Card) -> bool:
    """Whether its policy counts from then on: not one that the model failed, or that was forced
    once, nor that of a rollback."""
    once = card.lowered and card.kind is not PushedBy.REPLACED
    return not once and not _is_by_hand(card) and card.kind is not PushedBy.ROLLBACK


def terms_in(card: Card) -> Terms | None:
    """The terms of a card; None where it has none, or those of a version that this one cannot
    read."""
    try:
        return Terms.of_plain(card.terms) if card.terms else None
    except ConfigError as error:
        log.warning("the terms in the card of %s cannot be read: %s", card.model, error)
        return None


def agree(serving: str, terms: Terms, mandate: Mandate) -> Agreement:
    """What a run with these terms may do in a folder of versions.

    Raises:
        ConfigError: its purpose is another one, or its policy weaker, and the mandate does not
            cover that; or gates.toml is damaged. The message names every difference and the ways
            out.
    """
    try:
        bound = bound_by(serving)
    except UnreadableTerms as error:
        if not mandate.replace:
            raise
        reason = str(error.args[0])
        return Agreement(differences=(reason,), notes=(f"they are replaced: {reason}",))
    if bound is None:
        there = bool(versions(serving))
        adopted = f"nothing says yet what the models in {serving} are for: the next push binds it"
        return Agreement(notes=tuple([adopted] * there + _needless(mandate, True, True)))
    doubts = [f"{bound.doubt}; {bound.source} counts"] if bound.doubt else []
    if differences := terms.purpose.differences(bound.terms.purpose):
        if not mandate.replace:
            raise ConfigError(_other_purpose(bound, differences))
        lowered = _less_than_before(serving, terms)
        notes = [*doubts, f"the purpose is replaced: {'; '.join(differences)}"]
        if lowered:
            notes.append(f"asks for less than before for this purpose: {'; '.join(lowered)}")
        notes += _needless(mandate, False, True)
        return Agreement(differences=tuple(differences), lowered=tuple(lowered), notes=tuple(notes))
    if not (weaker := terms.policy.weaker(bound.terms.policy)):
        notes = [*doubts, *_stricter(bound, terms), *_needless(mandate, True, True)]
        return Agreement(notes=tuple(notes))
    edited = bound.file is not None and not _falls_short(terms, bound.file)
    if edited and mandate.replace:
        return Agreement(
            lowered=tuple(weaker),
            notes=(*doubts, f"the policy is replaced: {'; '.join(weaker)}"),
        )
    if not mandate.force:
        raise ConfigError(_weaker_policy(bound, weaker, edited))
    forced = f"this run is forced, and may push under a weaker policy: {'; '.join(weaker)}"
    notes = [*doubts, forced, *_needless(mandate, True, False)]
    return Agreement(lowered=tuple(weaker), binds=False, notes=tuple(notes))


def _less_than_before(serving: str, terms: Terms) -> list[str]:
    """In what a policy asks for less than the one that last bound the folder for its purpose, which
    another one has replaced since."""
    known = [own for each in listed(serving) if _binds(each.card) and (own := terms_in(each.card))]
    before = [own for own in known if not own.purpose.differences(terms.purpose)]
    return terms.policy.weaker(before[-1].policy) if before else []


def _falls_short(terms: Terms, of: Terms) -> bool:
    return bool(terms.purpose.differences(of.purpose) or terms.policy.weaker(of.policy))


def _needless(mandate: Mandate, same_purpose: bool, no_weaker: bool) -> list[str]:
    """What was allowed without need."""
    notes = []
    if mandate.replace and same_purpose:
        notes.append("--replace is not needed: the purpose is the same, or the first one here")
    if mandate.force and no_weaker:
        notes.append("--force is not needed: no weaker policy is asked for")
    return notes


def _stricter(bound: Bound, terms: Terms) -> list[str]:
    """That a push writes a stricter policy, where it does."""
    if not (raised := bound.terms.policy.weaker(terms.policy)):
        return []
    return [f"stricter than {bound.source}, in which {'; '.join(raised)}: a push writes it"]


def _other_purpose(bound: Bound, differences: list[str]) -> str:
    return (
        f"the models here are for another purpose, by {bound.source}"
        f"{f' ({bound.doubt})' if bound.doubt else ''}:\n{_list(differences)}\n"
        f"Give this purpose {PLACES}. Or replace the old one, without a comparison with the served "
        f"model: {REPLACE}. `gauntlet gates --root` shows what is bound"
    )


def _weaker_policy(bound: Bound, weaker: list[str], edited: bool) -> str:
    by_edit = (
        f"To let the edited {FILE} count from now on, sign it: {REPLACE}. "
        if edited
        else f"To ask for less from now on, edit {FILE} and sign that: {REPLACE}. "
    )
    return (
        f"this run asks for less than {bound.source}"
        f"{f' ({bound.doubt})' if bound.doubt else ''}:\n{_list(weaker)}\n"
        f"Ask for as much, or use {PLACES}. To push one model all the same: {FORCE}. {by_edit}"
        "`gauntlet gates --root` shows what is bound"
    )


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def account(terms: Terms, mandate: str, seed: int, code: str) -> dict[str, Any]:
    """What a run tells its Pusher of the model that it may push: its terms, who answers for them,
    and of its training the seed and a key of the code."""
    return {"terms": terms.plain(), "mandate": mandate, "seed": seed, "code": code}


def fields_of_push(serving: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a push says of a run, whose terms are compared once more.

    run: as `account` has it; of another pipeline it may be empty.

    Raises:
        ConfigError: its terms are not those by which the folder is bound by now.
    """
    if not run.get("terms"):
        return {"kind": PushedBy.RUN}
    terms, mandate = Terms.of_plain(run["terms"]), Mandate.of_json(run.get("mandate", ""))
    agreement = agree(serving, terms, mandate)
    signed = agreement.differences or agreement.lowered
    signature = dataclasses.asdict(mandate.signed_here()) if signed else {}
    found = {"replaced": agreement.differences, "lowered": agreement.lowered}
    return {"kind": agreement.kind} | found | _judged(run) | signature


def fields_of_forced(serving: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a push by hand, which is signed by itself: it asks for less where the run did,
    and binds a folder without terms to the purpose of the model.

    Raises:
        ConfigError: the folder is bound to another purpose, which the run might not replace; or the
            run says none.
    """
    bound = bound_by(serving)
    if not run.get("terms"):
        if bound is None:
            return {}
        raise ConfigError(
            f"this run does not say what its model is for, and {bound.source} binds the folder: it "
            "is of an earlier Gauntlet, or was killed before its Pusher; run it again"
        )
    terms = Terms.of_plain(run["terms"])
    if bound is None:
        return _judged(run)
    if differences := terms.purpose.differences(bound.terms.purpose):
        if not Mandate.of_json(run.get("mandate", "")).replace:
            raise ConfigError(
                f"this model is for another purpose than those here, by {bound.source}: "
                f"{'; '.join(differences)}. To replace these, give its run again with {REPLACE}"
            )
        return {"replaced": tuple(differences)} | _judged(run)
    return {"lowered": tuple(terms.policy.weaker(bound.terms.policy))} | _judged(run)


def _judged(run: Mapping[str, Any]) -> dict[str, Any]:
    terms = Terms.of_plain(run["terms"])
    return {
        "terms": terms.plain(),
        "terms_sha256": terms.digest(),
        "seed": run.get("seed"),
        "code": run.get("code"),
    }


def seen_in(serving: str) -> str:
    """A key of all that a comparison looks at: the versions, whose cards stay, and gates.toml."""
    file = file_in(serving)
    text = file.read_bytes() if file.exists() else b""
    return hashlib.sha256(" ".join(versions(serving)).encode() + b"\n" + text).hexdigest()[:16]


def is_news(serving: str, fields: Mapping[str, Any]) -> bool:
    """Whether a card must say these terms even where the model is served already: they bind the
    folder from now on, and no card says so yet.

    fields: as `fields_of_push` gives them.
    """
    if fields["kind"] is PushedBy.REPLACED:
        return True
    if fields.get("lowered") or not fields.get("terms"):
        return False
    known = deciding(listed(serving))
    return known is None or bool(known[1].policy.weaker(Terms.of_plain(fields["terms"]).policy))


def bind(serving: str) -> None:
    """Write gates.toml whole, where the newest card says more than it, or something else. Safe to
    be called again, and after any change of the versions."""
    with serving_lock(serving):
        bound = bound_by(serving)
        if "://" not in serving:
            for left in Path(serving).glob(f".{FILE}.*"):  # by killed ones; nobody writes now
                left.unlink(missing_ok=True)
        if bound is not None and bound.terms != bound.file:
            mode = None if "://" in serving else of_file(Path(serving))
            write_terms(file_in(serving), bound.terms, mode)


def write_terms(path: Any, terms: Terms, mode: int | None = None) -> None:
    """Write terms into a file, whole or not at all. mode: of a new one."""
    write_text(path, terms.to_toml(), mode)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best worst case that was ever pushed for a purpose, and the version that has it."""

    worst_case: float
    version: str


def best_worst_case(pushed: Iterable[Version], terms: Terms) -> Best | None:
    """The best of all versions for the same purpose that were tried at least as hard: weaker
    attacks leave more. None where there is none."""
    found = [
        Best(worst_case=each.card.worst_case, version=each.version)
        for each in pushed
        if each.card.worst_case is not None and _comparable(each.card, terms)
    ]
    return max(found, key=lambda best: best.worst_case, default=None)


def _comparable(card: Card, terms: Terms) -> bool:
    own = terms_in(card)
    if own is None or own.purpose.differences(terms.purpose):
        return False
    as_hard = dataclasses.replace(own.policy, gates=terms.policy.gates)
    return not as_hard.weaker(terms.policy)


def no_best(purpose: Purpose) -> str:
    """Why nothing was compared with the best worst case."""
    return f"no version that was tried as hard was ever pushed for {purpose}"
