"""By which terms a folder of pushed versions is bound.

The terms stand in `gates.toml` beside the versions, whose names are numbers, so TensorFlow Serving
passes over it; and in the card of each version. The file can be reviewed and edited, the cards
remember: where the file is gone, or asks for less than the newest card, the card counts; of a
version whose folder was taken away, the card in the journal.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath

from components.journal import read
from components.mandate import REPLACE
from components.policy import ASKS_NOTHING, Purpose, Terms
from components.versions import STRAY, Card, PushedBy, Version, card_of_entry, list_versions
from foundation.errors import ConfigError
from foundation.locks import serving_lock
from foundation.rights import of_file
from foundation.versions import versions
from foundation.whole import write_text

log = logging.getLogger("gauntlet.terms")

FILE = "gates.toml"
"""Name of the file with the terms, beside the versions."""


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
    written, known = read_terms(file), deciding(serving)
    if known is None:
        return Bound(terms=written, source=str(file), file=written) if written else None
    version, terms = known
    card = "the card" if version in versions(serving) else "the journal's card"
    source = f"{card} of version {version}"
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


def _ever_pushed(serving: str, there: Iterable[Version]) -> list[Version]:
    """The versions that are there, and those that only the journal knows any more, oldest first."""
    known = {version.version: version for version in there}
    gone = [
        Version(version=entry.version, serving=False, card=card_of_entry(entry))
        for entry in read(serving).entries
        if entry.version and entry.card and entry.version not in known
    ]
    return sorted([*known.values(), *gone], key=lambda each: int(each.version))


def deciding(serving: str) -> tuple[str, Terms] | None:
    """The version whose card has the terms that count, and these; None where no card has any. The
    purpose is that of the newest version that is there, the policy that of the newest push for this
    purpose which was neither by hand, nor forced once, nor a rollback: also of one whose folder
    somebody took away. A push by hand sets no policy.

    Raises:
        UnreadableTerms: a newer card has terms that cannot be read.
    """
    there = [each for each in listed(serving) if each.card.terms]
    pushed = [each for each in _ever_pushed(serving, there) if each.card.terms]
    known = [(each, terms) for each in pushed if (terms := terms_in(each.card))]
    newest = next((pair for pair in reversed(known) if pair[0] in there), None)
    counts = _counting(known, newest or known[-1]) if known else None
    for each in pushed[pushed.index(counts[0]) if counts else 0 :]:
        try:
            Terms.of_plain(each.card.terms)
        except ConfigError as error:
            raise UnreadableTerms(
                f"the terms of version {each.version} cannot be read: {error}"
            ) from error
    return (counts[0].version, counts[1]) if counts else None


def _counting(
    known: list[tuple[Version, Terms]], last_there: tuple[Version, Terms]
) -> tuple[Version, Terms]:
    newest, last = last_there
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


def bound_before(serving: str, purpose: Purpose) -> Terms | None:
    """The terms that last bound a folder for a purpose, perhaps replaced by another one since; None
    where it never was."""
    pushed = _ever_pushed(serving, listed(serving))
    known = [own for each in pushed if _binds(each.card) and (own := terms_in(each.card))]
    same = [own for own in known if not own.purpose.differences(purpose)]
    return same[-1] if same else None


def seen_in(serving: str) -> str:
    """A key of all that a comparison looks at: the versions, whose cards stay, and gates.toml."""
    file = file_in(serving)
    text = file.read_bytes() if file.exists() else b""
    return hashlib.sha256(" ".join(versions(serving)).encode() + b"\n" + text).hexdigest()[:16]


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
    policy = terms.policy
    as_hard = dataclasses.replace(
        own.policy, gates=policy.gates, span=policy.span, server=policy.server
    )
    return not as_hard.weaker(policy)


def no_best(purpose: Purpose) -> str:
    """Why nothing was compared with the best worst case."""
    return f"no version that was tried as hard was ever pushed for {purpose}"
