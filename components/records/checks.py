"""The honesty checks of the candidate: a file beside the rows of an artifact."""

import os
from collections.abc import Sequence

import pydantic
from tfx.dsl.io import fileio

from foundation.json import dumps
from foundation.whole import write_text
from robustness.config import Check

CHECKS = "checks.json"


def write_checks(artifact: str, checks: Sequence[Check]) -> None:
    """Write the checks into an artifact's folder."""
    fileio.makedirs(artifact)
    write_text(os.path.join(artifact, CHECKS), dumps(checks))


def names_of(checks: Sequence[Check], *, passed: bool) -> str:
    """Names of the checks that passed, or of those that did not, with commas: one that could not
    tell has not passed."""
    return ",".join(check.name for check in checks if bool(check.passed) is passed)


def read_checks(artifact: str) -> list[Check]:
    """What `write_checks` wrote."""
    with fileio.open(os.path.join(artifact, CHECKS)) as file:
        return pydantic.TypeAdapter(list[Check]).validate_json(file.read())
