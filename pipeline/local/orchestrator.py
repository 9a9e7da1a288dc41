"""Who may run the nodes on this machine: the choice, read without TFX."""

from enum import StrEnum


class Orchestrator(StrEnum):
    """One node after another in this process, or a Beam pipeline of nodes."""

    LOCAL = "local"
    BEAM = "beam"
