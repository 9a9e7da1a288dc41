"""The honesty checks of the candidate: a file beside the rows of an artifact."""

import dataclasses
import json
import math
import os
from collections.abc import Sequence

from tfx.dsl.io import fileio

from robustness.config import Check

CHECKS = "checks.json"


def write_checks(artifact: str, checks: Sequence[Check]) -> None:
    """Write the checks into an artifact's folder; a value that is not a number becomes null."""
    entries = [dataclasses.asdict(check) for check in checks]
    for entry in entries:
        entry["value"] = entry["value"] if math.isfinite(entry["value"]) else None
    fileio.makedirs(artifact)
    with fileio.open(os.path.join(artifact, CHECKS), "w") as file:
        file.write(json.dumps(entries, indent=2))


def read_checks(artifact: str) -> list[Check]:
    """What `write_checks` wrote; null is read as not a number."""
    with fileio.open(os.path.join(artifact, CHECKS)) as file:
        entries = json.load(file)
    values = [math.nan if entry["value"] is None else entry["value"] for entry in entries]
    return [Check(**entry | {"value": v}) for entry, v in zip(entries, values, strict=True)]
