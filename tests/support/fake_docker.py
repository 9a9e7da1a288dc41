"""A script in Docker's place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Fake = Callable[[str], Path]


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a shell script be `docker`; returns the file with its calls, one a line."""
    programs, calls = folder / "bin", folder / "calls"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\necho "$*" >>{calls}\n{script}\n')
    (programs / "docker").chmod(0o755)
    for tool in ("sh", "git", "sleep"):
        (programs / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(programs))
    return calls
