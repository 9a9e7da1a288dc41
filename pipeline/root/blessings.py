"""Blessings in the metadata: which model they are about, whether they are in force, and what was
changed by hand.

A rollback withdraws those of later models, so that none of these is served again by itself. Read
without TFX.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from components.changes import Change, Signature
from components.manifest import MODEL_SHA256
from foundation.errors import RunError
from foundation.json import dumps

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as mlmd

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds in which a run that writes into the metadata must let us through."""


def model_of(blessing: "mlmd.Artifact") -> int:
    """Id of the model artifact that a blessing is about."""
    return int(blessing.custom_properties["current_model_id"].int_value)


def is_blessed(blessing: "mlmd.Artifact") -> bool:
    """Whether a blessing is in force."""
    return bool(blessing.custom_properties["blessed"].int_value == 1)


def was_blessed(blessing: "mlmd.Artifact") -> bool:
    """Whether a blessing is in force, or was before it was withdrawn."""
    return is_blessed(blessing) or Change.WITHDRAWN in blessing.custom_properties


def withdrawal(blessing: "mlmd.Artifact") -> Signature | None:
    """Who withdrew a blessing; None where it is in force, or was never given."""
    if is_blessed(blessing) or Change.WITHDRAWN not in blessing.custom_properties:
        return None
    return Signature(**json.loads(blessing.custom_properties[Change.WITHDRAWN].string_value))


def judged(blessing: "mlmd.Artifact") -> str:
    """Digest of the files that were judged; '' of what earlier versions judged."""
    return text_in(blessing, MODEL_SHA256)


def text_in(artifact: "mlmd.Artifact", name: str) -> str:
    """A custom property; '' where there is none. To ask for one adds it, without a value, and ML
    Metadata ends the process that stores such an artifact."""
    properties = artifact.custom_properties
    return str(properties[name].string_value) if name in properties else ""


def change(blessing: "mlmd.Artifact", kind: Change, signature: Signature) -> None:
    """Give or withdraw a blessing, and note who did it; the caller stores the artifact."""
    blessing.custom_properties["blessed"].int_value = int(kind is not Change.WITHDRAWN)
    blessing.custom_properties[kind].string_value = dumps(signature, indent=None)


def put(store: "MetadataStore", artifacts: "list[mlmd.Artifact]") -> None:
    """Store artifacts in one transaction, also while a run works on the same metadata."""
    if artifacts:
        _patiently(lambda: store.put_artifacts(artifacts))


def _patiently(write: Callable[[], T]) -> T:
    """What `write` returns, which is tried again while somebody else writes.

    Raises:
        RunError: somebody does for too long.
    """
    from ml_metadata.errors import AbortedError, InternalError

    begin = time.monotonic()
    while True:
        try:
            return write()
        except (AbortedError, InternalError) as error:
            if "locked" not in str(error):
                raise
            if time.monotonic() - begin > PATIENCE:
                raise RunError(
                    f"another process holds the metadata for more than {PATIENCE:g} seconds; end "
                    "it, and try again"
                ) from error
            time.sleep(0.2)
