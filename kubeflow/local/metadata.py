"""What a platform keeps of tasks that were done: their outputs, by a fingerprint of what they were
given, and the numbers of all artifacts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.local.outcome import Outputs, Produced

from foundation.errors import RunError
from foundation.json import dumps
from foundation.whole import write_text

CACHE, COUNT = "cache.json", "artifacts.count"
"""Files in the folder: the outputs of tasks that were done, and how many artifacts there are."""


class Metadata:
    """The metadata in a folder, as they are when it is opened. Nobody else may write there
    meanwhile.

    Raises:
        RunError: they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        cache = folder / CACHE
        try:
            self._known = _read(cache) if cache.exists() else {}
            self._count = max([_counted(folder / COUNT), *self._numbers()])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{cache} or {COUNT} beside it is damaged; remove both and {folder / 'runs'}, and "
                "everything is computed again"
            ) from error

    def _numbers(self) -> list[int]:
        """Those of the artifacts that are known."""
        artifacts = [each for known in self._known.values() for each in known.artifacts.values()]
        return [int(each.name.rpartition("/")[2]) for each in artifacts]

    def find(self, fingerprint: str) -> Outputs | None:
        """What a task with this fingerprint has made; None where none was done."""
        return self._known.get(fingerprint)

    def keep(self, fingerprint: str, outputs: Outputs) -> None:
        """Let a task be known again."""
        self._known[fingerprint] = outputs
        known = {name: asdict(each) for name, each in self._known.items()}
        write_text(self._folder / CACHE, dumps(known))

    def new_number(self) -> int:
        """That of a new artifact, which no other has."""
        self._count += 1
        write_text(self._folder / COUNT, str(self._count))
        return self._count


def _read(cache: Path) -> dict[str, Outputs]:
    return {
        fingerprint: Outputs(
            artifacts={key: Produced(**each) for key, each in outputs["artifacts"].items()},
            values=outputs["values"],
        )
        for fingerprint, outputs in json.loads(cache.read_text()).items()
    }


def _counted(counter: Path) -> int:
    count = int(counter.read_text()) if counter.exists() else 0
    if count < 0:
        raise ValueError(f"a negative number of artifacts: {count}")
    return count


def fingerprint_of(
    container: Mapping[str, Any],
    component: Mapping[str, Any],
    values: Mapping[str, Any],
    inputs: Mapping[str, Produced],
) -> str:
    """What Kubeflow compares to know a task again."""
    what = [
        container["image"],
        container["command"],
        container["args"],
        dict(sorted(values.items())),
        {key: each.name for key, each in sorted(inputs.items())},
        component.get("outputDefinitions", {}),
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True, allow_nan=False).encode()).hexdigest()


def import_fingerprint(uri: str) -> str:
    """By what an importer knows an artifact again."""
    return hashlib.sha256(f"import {uri}".encode()).hexdigest()
