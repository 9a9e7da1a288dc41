"""Back to an earlier model: it is served again, and is the champion.

A version is a folder under `serving`; the served one has the highest number, so the earlier model
comes back as a new version. The models after it lose their blessing in the metadata; where there
are none, as in a platform's store, the cards say all that the Pusher must know.
"""

import dataclasses
import logging
from collections.abc import Iterator

from ml_metadata.metadata_store.metadata_store import MetadataStore

from components.bound import bound_by, terms_in
from components.changes import Change, Signature, signed
from components.journal import append, read
from components.pusher import publish, settle, unsettled
from components.versions import (
    NEVER_BLESSED,
    Card,
    PushedBy,
    Version,
    examine,
    in_turn,
    list_versions,
    restored,
    same_model,
    withdrawn_by,
)
from foundation.errors import ConfigError, RunError
from foundation.events import Fields, phase
from foundation.locks import serving_lock
from pipeline.production.listing import compared, require_same
from pipeline.production.requests import Rollback, StoreRollback
from pipeline.root.blessings import change, is_blessed, model_of, put, was_blessed
from pipeline.root.pushed import Records

log = logging.getLogger("gauntlet.rollback")


def serve_again(request: Rollback) -> Version:
    """Serve an earlier version again, as a new one, and withdraw the blessings of the models after
    it.

    Returns:
        The served version. Where it has the wanted model already, nothing is pushed.

    Raises:
        ConfigError: there is no such version, or no reason is given. RunError: it is not what was
            pushed, its model was never blessed, or somebody else changes the versions; or the push
            failed, then the blessings are changed already, and the same call again completes it.
    """
    signature = signed(request.reason, request.by)
    serving = str(request.root.serving)
    with phase("rollback"), request.root.under_change() as store:
        records = Records(store)
        pushed = compared(serving, records)
        with request.root.serving_lock():
            require_same(serving, pushed)
            if request.version is not None:
                target = restored(serving, _named(pushed, request.version))
                problem = target.problem or records.contradiction(target)
                target = dataclasses.replace(target, problem=problem)
            else:
                target = _unfinished(serving, pushed) or _before_in_root(serving, pushed, records)
            _require_intact(target)
            # The metadata first: whoever is killed between the two finds the same target again.
            _change_blessings(store, serving, target, signature)
            _serve(serving, target, pushed[-1], signature)
            served = list_versions(serving)[-1]
            # A run that has read a blessing a moment before may have written it back meanwhile.
            try:
                _change_blessings(store, serving, target, signature)
            except (OSError, RunError) as error:
                log.warning(
                    "version %s is served; %s", served.version, error, extra=Fields(stays=True)
                )
            return served


def serve_again_in_store(request: StoreRollback) -> Version:
    """The same in a platform's store, where the cards of the versions are all that is known.

    Returns:
        The served version. Where it has the wanted model already, nothing is pushed.

    Raises:
        ConfigError: there is no such version, or none before, or no reason is given. RunError: it
            is not what was pushed, or the push failed.
    """
    signature, serving = signed(request.reason, request.by), request.serving
    with phase("rollback"):
        pushed = list_versions(serving)
        if pushed:
            pushed[-1] = examine(serving, pushed[-1])
        if request.version is not None:
            target = examine(serving, restored(serving, _named(pushed, request.version)))
        else:
            target = _unfinished(serving, pushed) or _before_in_store(serving, pushed)
        _require_intact(target)
        with serving_lock(serving):
            require_same(serving, pushed)
            _serve(serving, target, pushed[-1], signature)
            return list_versions(serving)[-1]


def _before_in_store(serving: str, pushed: list[Version]) -> Version:
    """Of the versions before the served one, the newest that is intact and in force."""
    journal = read(serving)
    for version in _before(pushed):
        if journal.entries and not version.entry:  # it may be from elsewhere
            continue
        card = version.card
        in_force = not withdrawn_by(serving, card.model, card.manifest_sha256)
        if in_force and not examine(serving, version).problem:
            return version
    raise _no_target(serving, pushed, "earlier model")


def _before(pushed: list[Version]) -> Iterator[Version]:
    """The versions to which one could go back, the newest first: those of models whose turn was
    before that of the served one. Where nobody knows what is served, or it is damaged: of all."""
    turns = in_turn(pushed)
    served = turns[-1] if turns and not pushed[-1].problem else None
    for version, turn in reversed(turns):
        is_earlier = served is None or (
            turn < served[1] and not same_model(version.card, served[0].card)
        )
        if is_earlier and _is_certain(version):
            yield version


def _serve(serving: str, target: Version, served: Version, signature: Signature) -> None:
    """Publish the target again, unless an intact version of its model is served already."""
    if served.problem or not same_model(target.card, served.card):
        signed_by = dataclasses.asdict(signature)
        again = target.card.kind is PushedBy.ROLLBACK
        card = dataclasses.replace(
            target.card,
            kind=PushedBy.ROLLBACK,
            of=target.card.of if again and target.card.of else target.version,
            lowered=_lowered(serving, target.card),
            **signed_by,
        )
        publish(f"{serving}/{target.version}", serving, card)
    settle(serving)


def _lowered(serving: str, card: Card) -> tuple[str, ...]:
    """In what the terms of an earlier version, of whatever span, ask for less than what binds the
    folder by now."""
    once = () if card.kind is PushedBy.ROLLBACK else card.lowered
    try:
        bound, own = bound_by(serving), terms_in(card)
    except ConfigError:  # which the next run is told
        return once
    if bound is None or own is None or own.purpose.differences(bound.terms.purpose):
        return once
    policy = dataclasses.replace(own.policy, span=bound.terms.policy.span)
    return tuple(dict.fromkeys((*once, *policy.weaker(bound.terms.policy))))


def _unfinished(serving: str, pushed: list[Version]) -> Version | None:
    """The served version, where a rollback was killed right after that appeared: it is what the
    same command shall complete, and not one more rollback."""
    if not pushed or pushed[-1].card.kind is not PushedBy.ROLLBACK:
        return None
    return pushed[-1] if pushed[-1].version in unsettled(serving) else None


def _named(pushed: list[Version], number: str) -> Version:
    """The version of that number."""
    for version in pushed:
        if version.version == number:
            return version
    raise ConfigError(f"there is no version {number}; there are {_numbers(pushed)}")


def _is_certain(version: Version) -> bool:
    """Whether it may be served again by itself: what has no manifest must be named."""
    return not version.problem and bool(version.card.manifest_sha256)


def _require_intact(version: Version) -> None:
    if version.problem:
        raise RunError(
            f"version {version.version} is not served again: {version.problem}; `gauntlet models` "
            "shows which versions are intact"
        )
    if not version.card.manifest_sha256:
        log.warning(
            "version %s was pushed before there were manifests: nobody knows whether its files are "
            "those that were pushed",
            version.version,
            extra=Fields(stays=True),
        )


def _before_in_root(serving: str, pushed: list[Version], records: Records) -> Version:
    """Of the versions before the served one, the newest whose blessing is in force."""
    blessed = {model_of(blessing) for blessing in records.blessings if is_blessed(blessing)}
    for version in _before(pushed):
        if records.model_of(version.card) in blessed:
            return version
    raise _no_target(serving, pushed, "earlier blessed model")


def _no_target(serving: str, pushed: list[Version], wanted: str) -> ConfigError:
    """What to do where nothing can be served again by itself."""
    hints = [
        f"`gauntlet rollback {each.version}` serves that one with the card of the journal"
        for each in pushed
        if each.damaged and not restored(serving, each).problem
    ]
    said = f"there is no intact {wanted} to go back to; versions are {_numbers(pushed)}"
    return ConfigError("; ".join([said, *hints]))


def _numbers(pushed: list[Version]) -> str:
    return ", ".join(f"{each.version}{_doubt(each)}" for each in pushed) or "none"


def _doubt(version: Version) -> str:
    if version.damaged:
        return " (damaged)"
    return "" if version.problem or version.card.manifest_sha256 else " (no manifest)"


def _change_blessings(
    store: MetadataStore, serving: str, target: Version, signature: Signature
) -> None:
    """Withdraw the blessings of the models after the target's, and put its own in force again.
    After it are those whose turn was later, and of those that were never pushed the younger ones.

    Raises:
        RunError: the target's model was never blessed.
    """
    records = Records(store)
    model = records.model_of(target.card)
    own = [b for b in records.blessings if model_of(b) == model and was_blessed(b)]
    if model is None or not own:
        raise RunError(f"version {target.version} is not served again: {NEVER_BLESSED}")
    turns = {records.model_of(each.card): turn for each, turn in in_turn(list_versions(serving))}

    def is_later(other: int) -> bool:
        return turns[other] > turns[model] if other in turns else other > model

    later = [b for b in records.blessings if is_later(model_of(b)) and is_blessed(b)]
    lapsed = [b for b in own if not is_blessed(b)]
    for blessing in later:
        append(serving, records.entry(blessing, Change.WITHDRAWN, signature))
        change(blessing, Change.WITHDRAWN, signature)
    for blessing in lapsed:
        append(serving, records.entry(blessing, Change.RESTORED, signature))
        change(blessing, Change.RESTORED, signature)
    put(store, later + lapsed)
