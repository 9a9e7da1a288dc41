"""Pushed versions: what a folder of numbered versions holds, and the card that each carries.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pydantic
from etils import epath

from components.journal import Entry, Journal, read
from components.manifest import CARD as CARD
from components.manifest import digest, manifest_of, verify
from foundation.errors import RunError
from foundation.events import phase
from foundation.versions import STORED_AT, is_number, versions

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2 as mlmd

MEASURED = ("clean", "worst_case", "certified")
"""Gates whose values a card holds."""

NO_CARD = "it has no card"
STRAY = "nobody pushed it: the journal does not know it"
NEVER_BLESSED = "its model was never blessed"
UNKNOWN = (
    f"{NEVER_BLESSED} as far as the metadata know; where these were lost, `gauntlet rollback "
    "--store ROOT` goes by the cards alone"
)
OTHER_FILES = "its files are not those of its model, as the journal has them"

GONE_BACK = (
    "somebody went back from its model, and the version to which they went back is not there: that "
    "rollback was killed (give it again), its version was taken away, or the folder is an older "
    "state of itself"
)

BY_HAND = (NO_CARD, STRAY, NEVER_BLESSED, UNKNOWN, GONE_BACK)
"""Problems of a version whose files may be what somebody wanted: it is served by hand."""

DAMAGED = (OSError, ValueError, AttributeError, RecursionError)
"""What is raised by the reading of a card that is none."""


class PushedBy(StrEnum):
    """How a version came under `serving`."""

    RUN = "run"
    ROLLBACK = "rollback"
    FORCED = "forced"
    REPLACED = "replaced"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a pushed version says of itself.

    model, model_id: URI and id of its artifact; empty and 0 where a version has no card.
    clean, worst_case, certified: as its gates measured them.
    kind: how it came here. run_id: the run that pushed it, or that refused it. pushed_at: UTC.
    class_names: in label order; empty where nobody knows them. not_compared: why the model was not
        compared with the champion, where the gates asked for that.
    of: the version that a rollback serves again. by, at, reason: who, when and why, of a rollback,
        of a forced push, of a weaker policy and of another purpose. refused_by: the gates that a
        forced push overrode.
    terms, terms_sha256: purpose and policy under which the model was judged, and the digest of
        their file. replaced: how the purpose differs from the one before, which it has replaced.
        lowered: how the policy is weaker than that of the root, where that was forced or signed.
    manifest_sha256: digest of the list of all other files of the version.
    push: a name that no other push has.
    seed, code: of the run that trained the model.
    """

    model: str = ""
    model_id: int = 0
    clean: float | None = None
    worst_case: float | None = None
    certified: float | None = None
    class_names: tuple[str, ...] = ()
    not_compared: str | None = None
    kind: PushedBy = PushedBy.RUN
    run_id: str | None = None
    pushed_at: str | None = None
    of: str | None = None
    by: str | None = None
    at: str | None = None
    reason: str | None = None
    refused_by: str | None = None
    terms: dict[str, Any] | None = None
    terms_sha256: str | None = None
    replaced: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()
    manifest_sha256: str | None = None
    push: str | None = None
    seed: int | None = None
    code: str | None = None

    def plain(self) -> dict[str, Any]:
        """What the card says, by name: what does not apply to its kind is left out."""
        values = dataclasses.asdict(self).items()
        return {
            name: value for name, value in values if value not in (None, ()) or name in MEASURED
        }


@dataclass(frozen=True, kw_only=True)
class Version:
    """A pushed version: its number, whether it is the one that is served, and its card.

    problem: what is wrong with it, '' for nothing; such a version is never served again. Where its
        own card cannot be believed, `card` is the one of the journal.
    entry: the line of the journal on it; None where there is none.
    """

    version: str
    serving: bool
    card: Card
    problem: str = ""
    entry: Entry | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def damaged(self) -> bool:
        """Whether it is not what was pushed."""
        return self.problem not in ("", *BY_HAND)


def address_of(model: "mlmd.Artifact") -> str:
    """By what a card names a model: where it lies in its store, wherever its files were brought.

    The platforms hand on a property as JSON, in a struct.
    """
    if STORED_AT not in model.custom_properties:  # to ask for one adds it
        return str(model.uri)
    return str(model.custom_properties[STORED_AT].struct_value["__value__"])


def same_model(one: Card, other: Card) -> bool:
    """Whether two cards are about one model: by its address and the digest of its files, where both
    have one. An address alone can come again, where the metadata of a root were lost."""
    digests = {one.manifest_sha256, other.manifest_sha256} - {None}
    return one.model == other.model and len(digests) < 2


def read_card(version: str) -> Card:
    """The card in a version's folder; an empty one where there is none. Raises RunError where it is
    damaged."""
    card = epath.Path(version) / CARD
    try:
        return card_in(card.read_bytes()) if card.exists() else Card()
    except DAMAGED as error:
        raise RunError(
            f"the card of version {version} is damaged ({card}): {_reason(error)}"
        ) from error


def card_in(content: bytes) -> Card:
    """The card in a file. Raises one of `DAMAGED` where it is none."""
    return _card(json.loads(content))


def _reason(error: BaseException) -> str:
    return str(error).replace("\n", " ")


def _card(content: dict[str, Any]) -> Card:
    known = {field.name for field in dataclasses.fields(Card)} & content.keys()
    card = pydantic.TypeAdapter(Card).validate_python({name: content[name] for name in known})
    if card.of is not None and not is_number(card.of):
        raise ValueError(f"{card.of!r} is no version")
    return card


def list_versions(base: str) -> list[Version]:
    """All pushed versions, oldest first; the last is served. Their cards are compared with the
    journal, their files with nothing: see `examined`."""
    known, journal = versions(base), read(base)
    listed: list[Version] = []
    for number in known:
        version = _listed(base, number, number == known[-1], journal)
        if version.entry and any(version.entry is other.entry for other in listed):
            version = dataclasses.replace(version, problem=STRAY, entry=None)
        listed.append(version)
    return listed


def examined(base: str) -> list[Version]:
    """The same, with every file of every version verified."""
    return [examine(base, version) for version in list_versions(base)]


def examine(base: str, version: Version) -> Version:
    """A version of the listing with its files verified. What was pushed before there were manifests
    has none: only its model may be known, by the journal."""
    folder, expected = f"{base}/{version.version}", version.card.manifest_sha256
    if version.problem:
        return version
    if expected:
        return dataclasses.replace(version, problem="; ".join(verify(folder, expected)))
    entries = read(base).entries
    known = {entry.model_sha256 for entry in entries if entry.model == version.card.model} - {""}
    if version.card.model and known and digest(manifest_of(folder).text.encode()) not in known:
        return dataclasses.replace(version, problem=OTHER_FILES)
    return version


def restored(base: str, version: Version) -> Version:
    """A version whose own card cannot be believed, with the one of the journal instead, where its
    files are those that were pushed with that; otherwise the version as it is."""
    expected = version.entry and version.card.manifest_sha256
    if not version.problem or not expected or verify(f"{base}/{version.version}", expected):
        return version
    return dataclasses.replace(version, problem="")


def way_back(base: str, version: Version) -> str:
    """What to do about a version that is served and is not sound, as a part of a sentence."""
    way = 'serve an intact one by `gauntlet rollback --reason "..."`'
    listed = next(each for each in list_versions(base) if each.version == version.version)
    if not listed.problem or restored(base, listed).problem:
        return way
    own = f'`gauntlet rollback {version.version} --reason "..."`'
    return f"{way} (or this one, with the card of the journal, by {own})"


def unnoted(base: str, pushed: Iterable[Version]) -> str:
    """Which versions the journal should know, and has lost; '' where it knows them all, or there is
    none. What was pushed before there were journals has no manifest either."""
    if "://" in base:
        return ""
    lost = [
        each.version
        for each in pushed
        if each.card.manifest_sha256 and not each.entry and each.problem != STRAY
    ]
    return (
        f"the journal in {base} has no line on {', '.join(lost)}: it was removed or shortened, or "
        "they were put there by hand. Their cards can be held against the metadata only, where "
        "there are any"
    ) * bool(lost)


def missing(base: str) -> str:
    """Which versions the journal knows that are not there any more; '' where all are."""
    there = set(versions(base))
    gone = [each.version for each in read(base).entries if each.card and each.version]
    lost = [version for version in dict.fromkeys(gone) if version not in there]
    return f"the journal in {base} has versions that are not there: {', '.join(lost)}" * bool(lost)


def unreadable(base: str) -> list[Version]:
    """Versions of which nobody knows what they were: a card is damaged or gone, and no journal has
    it. What was pushed before there were cards is older than all that have one."""
    known = list_versions(base)
    carded = itertools.dropwhile(lambda version: version.problem == NO_CARD, known)
    return [each for each in carded if each.problem not in ("", STRAY) and not each.entry]


def list_store(base: str) -> list[Version]:
    """`examined` for a process of its own, because an object store is read with TensorFlow."""
    with phase("read the store"):
        return examined(base)


def _listed(base: str, number: str, serving: bool, journal: Journal) -> Version:
    file = epath.Path(base) / number / CARD
    content, card, problem = b"", Card(), ""
    try:
        if file.exists():
            content = file.read_bytes()
            card = card_in(content)
        else:
            problem = NO_CARD
    except DAMAGED as error:
        problem = f"its card is damaged: {_reason(error)}"
    card_sha256 = digest(content)
    entry = journal.of(number, card_sha256)
    if entry is not None and entry.card_sha256 != card_sha256:
        card, problem = card_of_entry(entry), problem or "its card is not the one of its push"
        problem = "its card is missing" if problem == NO_CARD else problem
    elif entry is None and not problem:
        is_later = int(number) > (journal.begin or int(number))
        problem = STRAY if is_later or journal.about(card_sha256) else ""
    return Version(version=number, serving=serving, card=card, problem=problem, entry=entry)


def card_of_entry(entry: Entry) -> Card:
    """The card that the journal has; an empty one where it cannot be read."""
    try:
        return _card(entry.card)
    except DAMAGED:
        return Card()


def withdrawn_by(base: str, model: str, model_sha256: str | None = None) -> Card | None:
    """The card of the rollback that took a model out of service; None where none did, or where the
    model has been served again since.

    A rollback takes out all models that were last pushed after the one that it serves again; the
    same that lose their blessing in a root. model, model_sha256: address and digest of the model.
    """
    wanted = Card(model=model, manifest_sha256=model_sha256)
    pushed, withdrawn = 0, None
    for version, turn in in_turn(list_versions(base)):
        if same_model(version.card, wanted):
            pushed, withdrawn = turn, None
        elif version.card.kind is PushedBy.ROLLBACK and pushed > turn:
            withdrawn = version.card
    return withdrawn


def in_turn(pushed: Iterable[Version]) -> list[tuple[Version, int]]:
    """The versions that somebody pushed, each with its turn: the number with which its model was
    pushed last until then. A rollback is no push, so its turn is that of the model to which it went
    back, however old that is by its training."""
    turns: list[tuple[Version, int]] = []
    for version in pushed:
        if version.problem == STRAY:
            continue
        card, turn = version.card, int(version.version)
        if card.kind is PushedBy.ROLLBACK:
            before = (own for each, own in reversed(turns) if same_model(each.card, card))
            turn = next(before, int(card.of or 0))
        turns.append((version, turn))
    return turns


def newest(base: str) -> Version | None:
    """The version that is served, with its files verified; None where there is none."""
    known = list_versions(base)
    return examine(base, known[-1]) if known else None
