"""How a task ends, and what it has made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.clients.run import TaskState

SAYS = "gauntlet: "
"""How the line begins in which a task says why it failed."""


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

    state: TaskState
    outputs: Outputs = field(default_factory=Outputs)
    log: Path | None = None
    code: int = 0

    @property
    def reason(self) -> str:
        """What a task of ours that failed has written last; '' where it has not said why."""
        if self.state is not TaskState.FAILED or self.log is None:
            return ""
        lines = self.log.read_text(errors="replace").splitlines()
        said = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
        return said[-1] if said else ""
