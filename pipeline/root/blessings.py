"""Blessings in the metadata: which model they are about, whether they are in force, and what was
changed by hand.

A rollback withdraws those of later models, so that none of these is served again by itself. Read
without TFX.
"""

import datetime
import getpass
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from foundation.json import dumps

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2 as mlmd


class Change(StrEnum):
    """What was done to a blessing by hand: the name of its property that holds the signature."""

    WITHDRAWN = "withdrawn"
    RESTORED = "restored"
    FORCED = "forced"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who changed something by hand, when (UTC) and why."""

    by: str
    at: str
    reason: str


def signed(reason: str) -> Signature:
    """The signature of whoever runs this process, now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Signature(by=getpass.getuser(), at=now, reason=reason)


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


def change(blessing: "mlmd.Artifact", kind: Change, signature: Signature) -> None:
    """Give or withdraw a blessing, and note who did it; the caller stores the artifact."""
    blessing.custom_properties["blessed"].int_value = int(kind is not Change.WITHDRAWN)
    blessing.custom_properties[kind].string_value = dumps(signature, indent=None)
