"""The push of a refused model by hand, in an emergency: it is blessed, with who, when and why."""

import dataclasses

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.evaluator.executor import REFUSED_BY
from components.pusher import card_of, publish
from components.versions import PushedBy, Version, list_versions
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from pipeline.production.requests import ForcedPush
from pipeline.root.blessings import Change, change, is_blessed, signed
from pipeline.root.metadata import RunOutputs


def push_refused(request: ForcedPush) -> Version:
    """Bless and push the model of a run that the gates refused.

    Returns:
        The served version.

    Raises:
        ConfigError: there is no such run, or it was not refused. RunError: it did not come as far
            as its gates, the serving check refused the model too, or a run is under way.
    """
    serving = str(request.root.serving)
    with phase("bless"), request.root.under_change() as store:
        run_id = _known_run(store, request)
        model, blessing = _refused(RunOutputs(store, run_id), run_id)
        signature = signed(request.reason)
        card = card_of(
            _as_tfx(store, model),
            _as_tfx(store, blessing),
            kind=PushedBy.FORCED,
            run_id=run_id,
            refused_by=blessing.custom_properties[REFUSED_BY].string_value,
            **dataclasses.asdict(signature),
        )
        publish(path_utils.serving_model_path(model.uri), serving, card)
        change(blessing, Change.FORCED, signature)
        store.put_artifacts([blessing])
        return list_versions(serving)[-1]


def _known_run(store: MetadataStore, request: ForcedPush) -> str:
    """The run that is asked for, or the latest one."""
    runs = sorted(context.name for context in store.get_contexts_by_type("pipeline_run"))
    if not runs:
        raise ConfigError(f"no run is known in {request.root}")
    if request.run_id and request.run_id not in runs:
        raise ConfigError(f"there is no run {request.run_id}; there are {', '.join(runs)}")
    return request.run_id or runs[-1]


def _refused(outputs: RunOutputs, run_id: str) -> tuple[mlmd.Artifact, mlmd.Artifact]:
    """The model of a run and the blessing that its gates refused, where a server could use it."""
    model = outputs.artifact("Trainer.robust", "model")
    blessing = outputs.artifact("Evaluator", "blessing")
    if not is_blessed(outputs.artifact("ServingCheck", "blessing")):
        raise RunError(
            f"the serving check refused the model of run {run_id}, which no server could use"
        )
    if is_blessed(blessing):
        raise ConfigError(
            f"the model of run {run_id} is blessed already; there is nothing to force"
        )
    return model, blessing


def _as_tfx(store: MetadataStore, artifact: mlmd.Artifact) -> Artifact:
    (kind,) = store.get_artifact_types_by_id([artifact.type_id])
    return artifact_utils.deserialize_artifact(kind, artifact)
