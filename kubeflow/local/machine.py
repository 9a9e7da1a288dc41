"""What runs the command of a task."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gauntlet_kubeflow.entry import LAUNCHER_ROOT

from foundation.process import leashed
from foundation.temporary import temporary_folder


class Machine(Protocol):
    """What runs the command of a container; see `Processes`."""

    def run(
        self, container: Mapping[str, Any], command: Sequence[str], folder: Path, output: Path
    ) -> int:
        """Run it to its end; returns its exit code.

        container: as the specification has it. command: its command and arguments, without
        placeholders. folder: where the platform's files are. output: file for what it prints.
        """


class Processes:
    """Runs commands in this environment: for a pipeline of this very version of the code."""

    def run(
        self, container: Mapping[str, Any], command: Sequence[str], folder: Path, output: Path
    ) -> int:
        """See `Machine`."""
        own = {entry["name"]: entry["value"] for entry in container.get("env", ())}
        first, *rest = command
        with output.open("a") as printed, temporary_folder() as temporary:
            places = {LAUNCHER_ROOT: str(folder), "TMPDIR": str(temporary)}
            return subprocess.run(
                leashed([sys.executable if first == "python" else first, *rest], signal.SIGTERM),
                cwd=output.parent, env={**os.environ, **places, **own},
                stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, check=False,
            ).returncode  # fmt: skip
