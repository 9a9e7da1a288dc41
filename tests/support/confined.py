"""What a process tries that is confined."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from foundation.sandbox import Confinement, confinement


def told(_: None) -> Confinement | None:
    return confinement()


def attempts(outside: Path) -> dict[str, str]:
    """What the system says to each attempt on a file `kept` in a folder, and on the network."""
    kept = outside / "kept"
    tries: dict[str, Callable[[], object]] = {
        "write": lambda: (outside / "new").write_text("x"),
        "append": lambda: kept.open("a"),
        "empty": lambda: os.truncate(kept, 0),
        "remove": kept.unlink,
        "rename": lambda: kept.rename(outside / "other"),
        "folder": lambda: (outside / "folder").mkdir(),
        "link": lambda: (outside / "link").symlink_to(kept),
        "mode": lambda: kept.chmod(0o777),
        "attribute": lambda: os.setxattr(kept, "user.x", b"x"),
        "internet": lambda: socket.socket().close(),
        "service": lambda: socket.socket(socket.AF_UNIX).close(),
        "pair": socket.socketpair,
        "signal": lambda: os.kill(os.getppid(), 0),
        "child": lambda: subprocess.run(
            [sys.executable, "-c", f"open({str(outside / 'new')!r}, 'w')"],
            check=True, capture_output=True,
        ),
    }  # fmt: skip
    return {name: answer(attempt) for name, attempt in tries.items()}


def answer(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (PermissionError, subprocess.CalledProcessError):
        return "refused"
    except FileNotFoundError:  # an attempt before it succeeded
        return "gone"
    return "done"


def write(path: Path) -> str:
    path.write_text("mine")
    path.rename(path.with_name("renamed"))
    return path.with_name("renamed").read_text()


class Trap:
    """Runs a program in whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def trap(path: Path) -> Trap:
    return Trap(path)
