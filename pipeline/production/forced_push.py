"""The push of a refused model by hand, in an emergency: it is blessed, with who, when and why."""

import contextlib
import dataclasses
import json
import logging
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.binding import ACCOUNT, fields_of_forced
from components.changes import Change, signed
from components.evaluator.executor import REFUSED_BY
from components.pusher import card_of, publish, settle
from components.versions import (
    Card,
    PushedBy,
    Version,
    address_of,
    list_versions,
    same_model,
)
from foundation.errors import ConfigError, RunError
from foundation.events import Fields, phase
from pipeline.production.listing import compared, require_same
from pipeline.production.requests import ForcedPush
from pipeline.root.blessings import change, is_blessed, judged, put, text_in
from pipeline.root.metadata import RunOutputs
from pipeline.root.pushed import Records, measured_by

log = logging.getLogger("gauntlet.forced_push")


def push_refused(request: ForcedPush) -> Version:
    """Bless and push the model of a run that the gates refused. A forced push that was killed is
    completed by the same call.

    Returns:
        The served version.

    Raises:
        ConfigError: there is no such run, it was not refused, or several were and none is named.
        RunError: it did not come as far as its gates, the serving check refused the model too, its
            files are not those that were judged, or somebody else changes the versions.
    """
    serving = str(request.root.serving)
    with phase("bless"), request.root.under_change() as store:
        pushed = compared(serving, Records(store))
        with request.root.serving_lock():
            require_same(serving, pushed)
            refused = _chosen(store, request, pushed)
            blessing, signature = refused.blessing, signed(request.reason, request.by)
            card = card_of(
                _as_tfx(store, refused.model),
                _as_tfx(store, blessing),
                kind=PushedBy.FORCED,
                run_id=refused.run_id,
                refused_by=text_in(blessing, REFUSED_BY),
                manifest_sha256=judged(blessing) or None,
                **fields_of_forced(serving, refused.account),
                **dataclasses.asdict(signature),
            )
            log.info("run %s", refused, extra=Fields(stays=True))
            # The metadata first, see `rollback`.
            if not is_blessed(blessing):
                change(blessing, Change.FORCED, signature)
                put(store, [blessing])
            if not (pushed and _is_forced(pushed[-1], card)):
                publish(path_utils.serving_model_path(refused.model.uri), serving, card)
            settle(serving)
            return list_versions(serving)[-1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A run whose gates refused its model, which a server could use. account: what the run says
    of itself, see `components.binding.account`."""

    run_id: str
    model: mlmd.Artifact
    blessing: mlmd.Artifact
    account: dict[str, Any]

    def __str__(self) -> str:
        figures = measured_by(self.blessing.uri) or {}
        shown = [f"{name} {share:.2%}" for name, share in figures.items() if share is not None]
        refused_by = text_in(self.blessing, REFUSED_BY)
        shown.append(f"refused by {refused_by}" if refused_by else "its blessing was withdrawn")
        return f"{self.run_id} ({', '.join(shown)})"


def _chosen(store: MetadataStore, request: ForcedPush, pushed: list[Version]) -> Refused:
    """The run that is asked for. Without a name: the latest one, where no other was refused."""
    contexts = store.get_contexts_by_type("pipeline_run")
    runs = [c.name for c in sorted(contexts, key=lambda c: (c.create_time_since_epoch, c.id))]
    if not runs:
        raise ConfigError(f"no run is known in {request.root}")
    if request.run_id:
        if request.run_id not in runs:
            raise ConfigError(f"there is no run {request.run_id}; there are {', '.join(runs)}")
        return _refused(RunOutputs(store, request.run_id), pushed)
    refused: dict[int, Refused] = {}
    for run_id in runs:
        with contextlib.suppress(ConfigError, RunError):
            run = _refused(RunOutputs(store, run_id), pushed)
            refused[run.blessing.id] = run
    if not refused:
        return _refused(RunOutputs(store, runs[-1]), pushed)  # which says why not
    *others, latest = refused.values()
    if others or latest.run_id != runs[-1]:
        raise ConfigError(
            "which run? Name one of those whose model was refused or withdrawn, the latest first: "
            + "; ".join(str(run) for run in (latest, *reversed(others)))
        )
    return latest


def _refused(outputs: RunOutputs, pushed: list[Version]) -> Refused:
    """The model of a run and the blessing that its gates refused, where a server could use it.

    pushed: all versions.
    """
    model = outputs.artifact("Trainer.robust", "model")
    blessing = outputs.artifact("Evaluator", "blessing")
    if not is_blessed(outputs.artifact("ServingCheck", "blessing")):
        raise RunError(
            f"the serving check refused the model of run {outputs.run_id}, which no server could "
            "use"
        )
    if is_blessed(blessing) and not _is_unfinished(model, blessing, pushed):
        raise ConfigError(
            f"the model of run {outputs.run_id} is blessed already; there is nothing to force"
        )
    return Refused(run_id=outputs.run_id, model=model, blessing=blessing, account=_account(outputs))


def _account(outputs: RunOutputs) -> dict[str, Any]:
    """What a run has told its Pusher; nothing where it did not come so far."""
    try:
        pushed = outputs.artifact("Pusher", "pushed_model")
    except RunError:
        return {}
    return dict(json.loads(text_in(pushed, ACCOUNT) or "{}"))


def _is_unfinished(model: mlmd.Artifact, blessing: mlmd.Artifact, pushed: list[Version]) -> bool:
    """Whether somebody forced a blessing, and either was killed before the version appeared or
    asks for what is served already."""
    if Change.FORCED not in blessing.custom_properties:
        return False
    card = Card(model=address_of(model), manifest_sha256=judged(blessing) or None)
    served = bool(pushed) and _is_forced(pushed[-1], card)
    return served or not any(_is_forced(version, card) for version in pushed)


def _is_forced(version: Version, card: Card) -> bool:
    """Whether a version is this model, pushed by force, as it was pushed."""
    by_force = version.card.kind is PushedBy.FORCED
    return by_force and not version.problem and same_model(version.card, card)


def _as_tfx(store: MetadataStore, artifact: mlmd.Artifact) -> Artifact:
    (kind,) = store.get_artifact_types_by_id([artifact.type_id])
    return artifact_utils.deserialize_artifact(kind, artifact)
