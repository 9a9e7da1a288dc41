"""Back to an earlier model: it is served again, and is the champion.

A version is a folder under `serving`; the served one has the highest number, so the earlier model
comes back as a new version. The models after it lose their blessing in the metadata; where there
are none, as in a platform's store, the cards say all that the Pusher must know.
"""

import dataclasses

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.pusher import publish
from components.versions import PushedBy, Version, list_versions, withdrawn_by
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from pipeline.production.requests import Rollback, StoreRollback
from pipeline.root.blessings import Change, change, is_blessed, model_of, signed, was_blessed


def serve_again(request: Rollback) -> Version:
    """Serve an earlier version again, as a new one, and withdraw the blessings of the models after
    it.

    Returns:
        The served version. Where it has the wanted model already, nothing is pushed.

    Raises:
        ConfigError: there is no such version. RunError: its model was never blessed, or a run is
            under way; or the push failed, then the blessings are changed already, and the same call
            again completes it.
    """
    serving = request.root.serving
    with phase("rollback"), request.root.under_change() as store:
        pushed = list_versions(str(serving))
        blessings = store.get_artifacts_by_type("ModelBlessing")
        target = (
            _before(pushed, blessings)
            if request.version is None
            else _named(pushed, request.version)
        )
        # The metadata first: whoever is killed between the two finds the same target again.
        store.put_artifacts(_changed(blessings, target, request.reason))
        if target.card.model != pushed[-1].card.model:
            _publish(str(serving), target, request.reason)
        return list_versions(str(serving))[-1]


def serve_again_in_store(request: StoreRollback) -> Version:
    """The same in a platform's store, where the cards of the versions are all that is known.

    Returns:
        The served version. Where it has the wanted model already, nothing is pushed.

    Raises:
        ConfigError: there is no such version, or none before. RunError: the push failed.
    """
    serving = request.serving
    with phase("rollback"):
        pushed = list_versions(serving)
        target = (
            _before_in_store(serving, pushed)
            if request.version is None
            else _named(pushed, request.version)
        )
        if target.card.model != pushed[-1].card.model:
            _publish(serving, target, request.reason)
        return list_versions(serving)[-1]


def _before_in_store(serving: str, pushed: list[Version]) -> Version:
    """The newest version before the first one of the served model, with one that is in force."""
    models = [version.card.model for version in pushed]
    first = models.index(models[-1]) if models else 0
    for version in reversed(pushed[:first]):
        if not withdrawn_by(serving, version.card.model):
            return version
    raise ConfigError(f"there is no earlier model to go back to; versions are {_numbers(pushed)}")


def _publish(serving: str, target: Version, reason: str) -> None:
    signature = dataclasses.asdict(signed(reason))
    card = dataclasses.replace(target.card, kind=PushedBy.ROLLBACK, of=target.version, **signature)
    publish(f"{serving}/{target.version}", serving, card)


def _named(pushed: list[Version], number: str) -> Version:
    """The version of that number."""
    for version in pushed:
        if version.version == number:
            return version
    raise ConfigError(f"there is no version {number}; there are {_numbers(pushed)}")


def _before(pushed: list[Version], blessings: list[mlmd.Artifact]) -> Version:
    """The newest version of an older model than the served one, whose blessing is in force."""
    blessed = {model_of(blessing) for blessing in blessings if is_blessed(blessing)}
    for version in reversed(pushed):
        model = version.card.model_id
        if model < pushed[-1].card.model_id and model in blessed:
            return version
    raise ConfigError(
        f"there is no earlier blessed model to go back to; versions are {_numbers(pushed)}"
    )


def _numbers(pushed: list[Version]) -> str:
    return ", ".join(version.version for version in pushed) or "none"


def _changed(blessings: list[mlmd.Artifact], target: Version, reason: str) -> list[mlmd.Artifact]:
    """The blessings that change: those of later models are withdrawn, those of the target's model
    are in force again.

    Raises:
        RunError: the target's model was never blessed.
    """
    model, signature = target.card.model_id, signed(reason)
    own = [b for b in blessings if model_of(b) == model and was_blessed(b)]
    if not own:
        raise RunError(
            f"the model of version {target.version} was never blessed, so it cannot be served again"
        )
    later = [b for b in blessings if model_of(b) > model and is_blessed(b)]
    lapsed = [b for b in own if not is_blessed(b)]
    for blessing in later:
        change(blessing, Change.WITHDRAWN, signature)
    for blessing in lapsed:
        change(blessing, Change.RESTORED, signature)
    return later + lapsed
