"""Whether a candidate was compared with the champion: a file beside the rows of ChampionChallenge,
from which the Evaluator knows what no row says."""

import dataclasses
import json
import os
from dataclasses import dataclass

import pydantic
from tfx.dsl.io import fileio

from foundation.errors import RunError
from foundation.json import dumps
from foundation.whole import write_text

RIVALRY = "rivalry.json"


@dataclass(frozen=True, kw_only=True)
class Rivalry:
    """Whom a candidate was compared with.

    champion: folder of the version; '' where the two were not compared, or there is none.
    reason: why they were not. note: what the comparison could not look at.
    best: the best worst case that was ever pushed for the purpose, of the version best_version.
    no_best: why there is none. None and '' where nobody has asked for it.
    """

    champion: str = ""
    reason: str = ""
    note: str = ""
    best: float | None = None
    best_version: str = ""
    no_best: str = ""

    def completed(self, not_compared: str, best: str) -> "Rivalry":
        """The same with what Champion has answered beside the version: `not_compared` and
        `best`."""
        answer = json.loads(best or "{}")
        return dataclasses.replace(
            self,
            reason=self.reason or not_compared,
            best=answer.get("worst_case"),
            best_version=answer.get("version", ""),
            no_best=answer.get("reason", ""),
        )


def write_rivalry(artifact: str, rivalry: Rivalry) -> None:
    """Write it into an artifact's folder."""
    fileio.makedirs(artifact)
    write_text(os.path.join(artifact, RIVALRY), dumps(rivalry))


def read_rivalry(artifact: str) -> Rivalry:
    """What `write_rivalry` wrote. Raises RunError where it is gone: nobody knows then whether there
    was a champion."""
    path = os.path.join(artifact, RIVALRY)
    if not fileio.exists(path):
        raise RunError(
            f"{path} is missing, so nobody knows whether the candidate met a champion; run "
            "ChampionChallenge again"
        )
    with fileio.open(path) as file:
        return pydantic.TypeAdapter(Rivalry).validate_json(file.read())
