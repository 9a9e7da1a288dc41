"""The honesty checks of the candidate: a file beside the rows of an artifact."""

import dataclasses
import json
import math
import os
from collections.abc import Sequence

from tfx.dsl.io import fileio

from robustness.checks import Check
from robustness.config import CheckName

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
    return [
        Check(
            name=CheckName(entry["name"]),
            passed=entry["passed"],
            value=math.nan if entry["value"] is None else entry["value"],
            sentence=entry["sentence"],
        )
        for entry in entries
    ]
