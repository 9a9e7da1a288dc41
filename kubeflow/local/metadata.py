"""What a platform keeps of tasks that were done: their outputs, by a fingerprint of what they were
given, and the numbers of all artifacts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.local.outcome import Outputs, Produced

from foundation.json import dumps

CACHE, COUNT = "cache.json", "artifacts.count"
"""Files in the folder: the outputs of tasks that were done, and how many artifacts there are."""


class Metadata:
    """The metadata in a folder, as they are when it is opened. Nobody else may write there
    meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        cache = folder / CACHE
        kept = json.loads(cache.read_text()) if cache.exists() else {}
        self._known = {
            fingerprint: Outputs(
                artifacts={key: Produced(**each) for key, each in outputs["artifacts"].items()},
                values=outputs["values"],
            )
            for fingerprint, outputs in kept.items()
        }

    def find(self, fingerprint: str) -> Outputs | None:
        """What a task with this fingerprint has made; None where none was done."""
        return self._known.get(fingerprint)

    def keep(self, fingerprint: str, outputs: Outputs) -> None:
        """Let a task be known again."""
        self._known[fingerprint] = outputs
        new = self._folder / f"{CACHE}.new"
        new.write_text(dumps({name: asdict(each) for name, each in self._known.items()}))
        new.rename(self._folder / CACHE)

    def new_number(self) -> int:
        """That of a new artifact, which no other has."""
        counter = self._folder / COUNT
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(number))
        return number


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
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def import_fingerprint(uri: str) -> str:
    """By what an importer knows an artifact again."""
    return hashlib.sha256(f"import {uri}".encode()).hexdigest()
