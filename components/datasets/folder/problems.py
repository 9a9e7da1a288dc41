"""Files that cannot be taken: all of them are found before the first one is told."""

from pathlib import Path

from components.datasets.folder.names import readable
from foundation.errors import RefusedData

SHOWN = 10
"""So many are named."""


class Problems:
    """Collects what is wrong with files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines: list[str] = []
        self._count = 0

    def add(self, name: str, reason: str) -> None:
        """One more. reason: what is wrong and what to do, after the name."""
        self._count += 1
        if self._count <= SHOWN:
            self._lines.append(f"{readable(self._root / name)} {reason}")

    def refuse(self, total: int, things: str = "files") -> None:
        """Raises DataError that names the first ones, where there are any among `total` things."""
        if not self._count:
            return
        more = [f"and {self._count - SHOWN:,} more"] * (self._count > SHOWN)
        raise RefusedData(
            f"{self._count:,} of {total:,} {things} cannot be taken:\n"
            + "\n".join([*self._lines, *more])
        )
