"""Whether a run may push into a folder of versions that is bound by terms, and how its card tells.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.bound import (
    FILE,
    Bound,
    UnreadableTerms,
    bound_before,
    bound_by,
    deciding,
)
from components.mandate import FORCE, REPLACE, Mandate
from components.policy import Terms
from components.versions import PushedBy
from foundation.errors import ConfigError
from foundation.versions import versions

REPLACED = "the purpose was replaced"
"""How the reason begins for which a model was not compared with the champion before it."""

PLACES = "another --root (on a platform --name or --store)"


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
        before = bound_before(serving, terms.purpose)
        lowered = terms.policy.weaker(before.policy) if before else []
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


def _falls_short(terms: Terms, of: Terms) -> bool:
    return bool(terms.purpose.differences(of.purpose) or terms.policy.weaker(of.policy))


def _needless(mandate: Mandate, same_purpose: bool, no_weaker: bool) -> list[str]:
    """What was allowed without need."""
    notes = []
    if mandate.replace and same_purpose:
        notes.append("--replace is not needed: nothing that binds is replaced")
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
    if edited:
        by_edit = f"To let the edited {FILE} count from now on, sign it: {REPLACE}. "
    elif bound.file is None:
        by_edit = (
            f"To ask for less from now on, write {FILE} there by `gauntlet gates --toml` and sign "
            f"that: {REPLACE}. "
        )
    else:
        by_edit = f"To ask for less from now on, edit {FILE} and sign that: {REPLACE}. "
    return (
        f"this run asks for less than {bound.source}"
        f"{f' ({bound.doubt})' if bound.doubt else ''}:\n{_list(weaker)}\n"
        f"Ask for as much, or use {PLACES}. To push one model all the same: {FORCE}. {by_edit}"
        "`gauntlet gates --root` shows what is bound"
    )


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


ACCOUNT = "account"
"""Custom property of what was pushed or not: what `account` says of the run, as JSON."""


WRITTEN = "written"
"""Custom property of what was pushed: 1 where that push wrote the version, whose card then has the
terms of its run; otherwise the model was served already."""


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


def is_news(serving: str, fields: Mapping[str, Any]) -> bool:
    """Whether a card must say these terms even where the model is served already: they bind the
    folder from now on, and no card says so yet.

    fields: as `fields_of_push` gives them.
    """
    if fields["kind"] is PushedBy.REPLACED:
        return True
    if fields.get("lowered") or not fields.get("terms"):
        return False
    known = deciding(serving)
    return known is None or bool(known[1].policy.weaker(Terms.of_plain(fields["terms"]).policy))
