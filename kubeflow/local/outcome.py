"""How a task ends, and what it has made."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """How a task ended."""

    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Produced:
    """An artifact that a task has made. name: as the platform's metadata name it."""

    name: str
    uri: str
    type: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a task has made: artifacts and values, by the names of its outputs."""

    artifacts: dict[str, Produced] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended, and what it has made. code: of its last attempt."""

    state: State
    outputs: Outputs = field(default_factory=Outputs)
    log: Path | None = None
    code: int = 0
