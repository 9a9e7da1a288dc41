"""The models in production: which versions there are, back to an earlier one, and the push of a
refused one by hand.

A version is a folder under `serving`; TensorFlow Serving loads the one with the highest number.
What is blessed is known to the metadata alone, so a rollback takes blessings back, and a forced
push gives one, with who, when and why.
"""

import datetime
import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.evaluator.executor import REFUSED_BY
from components.pusher import card_of, publish
from components.versions import list_versions
from foundation.errors import ConfigError, RunError
from pipeline.root.metadata import RunOutputs

WITHDRAWN, RESTORED, FORCED = "withdrawn", "restored", "forced"
"""Properties of a blessing that was changed by hand, as JSON: who, when, why."""


def rollback(root: Path, version: str | None, reason: str) -> dict[str, Any]:
    """Serve an earlier version again, as a new version, and take back the blessings of the models
    after it.

    Args:
        root: of the pipeline.
        version: which; None for the newest one of an earlier model whose blessing is in force.
        reason: why, for the metadata.

    Returns:
        The card of the new version. Where the wanted model is served already, nothing is pushed.

    Raises:
        ConfigError: there is no such version. RunError: its model was never blessed, or a run is
            under way; or the push failed, then the blessings are changed already, and the same call
            again completes it.
    """
    with locked(root), metadata(root) as store:
        serving = root / "serving"
        found = list_versions(str(serving))
        blessings = store.get_artifacts_by_type("ModelBlessing")
        target = _named(found, version) if version is not None else _before(found, blessings)
        own = [blessing for blessing in blessings if model_of(blessing) == target["model_id"]]
        once = [
            blessing
            for blessing in own
            if is_blessed(blessing) or WITHDRAWN in blessing.custom_properties
        ]
        if not once:
            raise RunError(
                f"the model of version {target['version']} was never blessed, so it cannot be "
                "served again"
            )
        # The metadata first: whoever is killed between the two finds the same target again.
        later = [b for b in blessings if model_of(b) > target["model_id"] and is_blessed(b)]
        for blessing in later:
            sign(blessing, False, WITHDRAWN, reason)
        for blessing in once:
            if not is_blessed(blessing):
                sign(blessing, True, RESTORED, reason)
        store.put_artifacts([*later, *once])
        if target["model"] != found[-1]["model"]:
            card = {k: v for k, v in target.items() if k not in ("version", "serving", "pushed_at")}
            card |= signed(reason) | {"kind": "rollback", "of": target["version"]}
            publish(str(serving / target["version"]), str(serving), card)
        return list_versions(str(serving))[-1]


def force(root: Path, run_id: str | None, reason: str) -> dict[str, Any]:
    """Bless and push the model of a run that the gates refused.

    Args:
        root: of the pipeline.
        run_id: which run; None for the latest.
        reason: why, for the metadata and every later listing.

    Returns:
        The card of the new version.

    Raises:
        ConfigError: there is no such run, or it was not refused. RunError: it did not come as far
            as its gates, the serving check refused the model too, or a run is under way.
    """
    with locked(root), metadata(root) as store:
        run_id = run_id or max(
            (c.name for c in store.get_contexts_by_type("pipeline_run")), default=None
        )
        if run_id is None:
            raise ConfigError(f"no run is known in {root}")
        outputs = RunOutputs(store, run_id)
        model, blessing = (
            outputs.artifact("Trainer.robust", "model"),
            outputs.artifact("Evaluator", "blessing"),
        )
        if not is_blessed(outputs.artifact("ServingCheck", "blessing")):
            raise RunError(
                f"the serving check refused the model of run {run_id}, which no server could use"
            )
        if is_blessed(blessing):
            raise ConfigError(
                f"the model of run {run_id} is blessed already; there is nothing to force"
            )
        refused_by = blessing.custom_properties[REFUSED_BY].string_value
        (model_type, blessing_type) = store.get_artifact_types_by_id(
            [model.type_id, blessing.type_id]
        )
        card = card_of(
            artifact_utils.deserialize_artifact(model_type, model),
            artifact_utils.deserialize_artifact(blessing_type, blessing),
            kind="forced",
            run_id=run_id,
            refused_by=refused_by,
            **signed(reason),
        )
        publish(path_utils.serving_model_path(model.uri), str(root / "serving"), card)
        sign(blessing, True, FORCED, reason)
        store.put_artifacts([blessing])
        return list_versions(str(root / "serving"))[-1]


def _named(found: list[dict[str, Any]], version: str) -> dict[str, Any]:
    """The version of that number."""
    for entry in found:
        if entry["version"] == version:
            return entry
    raise ConfigError(f"there is no version {version}; there are {_known(found)}")


def _before(found: list[dict[str, Any]], blessings: list[mlmd.Artifact]) -> dict[str, Any]:
    """The newest version of an older model than the one that is served, whose blessing is still in
    force."""
    blessed = {model_of(blessing) for blessing in blessings if is_blessed(blessing)}
    for entry in reversed(found):
        if entry["model_id"] < found[-1]["model_id"] and entry["model_id"] in blessed:
            return entry
    raise ConfigError(
        f"there is no earlier blessed model to go back to; versions are {_known(found)}"
    )


def _known(found: list[dict[str, Any]]) -> str:
    return ", ".join(entry["version"] for entry in found) or "none"


def model_of(blessing: mlmd.Artifact) -> int:
    """Id of the model artifact that a blessing is about."""
    return int(blessing.custom_properties["current_model_id"].int_value)


def is_blessed(blessing: mlmd.Artifact) -> bool:
    return bool(blessing.custom_properties["blessed"].int_value == 1)


def sign(blessing: mlmd.Artifact, blessed: bool, key: str, reason: str) -> None:
    """Change a blessing, and note who, when and why under `key`."""
    blessing.custom_properties["blessed"].int_value = int(blessed)
    blessing.custom_properties[key].string_value = json.dumps(signed(reason))


def signed(reason: str) -> dict[str, str]:
    """Who, when, why."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"by": getpass.getuser(), "at": now, "reason": reason}


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """No run changes the root meanwhile."""
    if not (root / "metadata.sqlite").exists():
        raise ConfigError(
            f"{root} is no root of a pipeline: it has no metadata.sqlite; name another with --root"
        )
    try:
        with FileLock(root / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"a run is under way in {root}; wait for it") from error


@contextmanager
def metadata(root: Path) -> Iterator[MetadataStore]:
    """The metadata store of a root."""
    with Metadata(sqlite_metadata_connection_config(str(root / "metadata.sqlite"))) as connected:
        yield connected.store
