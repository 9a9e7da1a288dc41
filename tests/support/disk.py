"""What POSIX promises of a folder after a power cut.

A file's content is on the disk where the file was synced since; a name is there, or gone, where its
folder was synced since. All else may have happened on the disk, or not: it is up to the file system
in which order it writes. `leftovers` gives three of the outcomes, the extremes and a mixture.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

Tree = dict[str, bytes | None]
"""Contents of files by their paths; None for a folder."""


class Cut(StrEnum):
    """What a power cut does to all that was not synced.

    CONTENTS_LOST: every name is there, and what was not synced is empty. NAMES_LOST: every folder
    is as it was synced last. MIXED: some folders are as the one, some as the other.
    """

    CONTENTS_LOST = "contents-lost"
    NAMES_LOST = "names-lost"
    MIXED = "mixed"


@dataclass
class Node:
    """A file or a folder: as it is, and as it was synced last."""

    is_folder: bool
    entries: dict[str, "Node"] = field(default_factory=dict)
    synced_entries: dict[str, "Node"] = field(default_factory=dict)
    synced_content: bytes = b""


class Disk:
    """Follows a folder; all that is there at the beginning is on the disk.

    kept: names in the folder that are not looked at.
    """

    def __init__(self, folder: Path, kept: Callable[[str], bool]) -> None:
        self._folder, self._kept = folder, kept
        self._nodes: dict[int, Node] = {}
        self.observe()
        for number, node in self._nodes.items():
            node.synced_entries = dict(node.entries)
            node.synced_content = self._begun[number]

    def observe(self) -> None:
        """Look at what is there now."""
        seen: dict[int, Node] = {}
        self._begun: dict[int, bytes] = {}
        self._root = self._look(self._folder, seen)
        self._nodes = seen

    def _look(self, path: Path, seen: dict[int, Node]) -> Node:
        found = os.lstat(path)
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        node = self._nodes.get(found.st_ino)
        if node is None or node.is_folder != is_folder:
            node = Node(is_folder)
            if not is_folder:
                self._begun[found.st_ino] = path.read_bytes()
        seen[found.st_ino] = node
        if is_folder:
            names = [n for n in os.listdir(path) if path != self._folder or not self._kept(n)]
            node.entries = {name: self._look(path / name, seen) for name in names}
            self._begun[found.st_ino] = b""
        return node

    def synced(self, descriptor: int) -> None:
        """A file or folder was synced."""
        self.observe()
        node = self._nodes.get(os.fstat(descriptor).st_ino)
        if node is None:
            return
        if node.is_folder:
            node.synced_entries = dict(node.entries)
        else:
            node.synced_content = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def leftovers(self, cut: Cut, seed: int) -> Tree:
        """What is on the disk after a power cut now. seed: of the mixture."""
        self.observe()
        rng = random.Random(seed)
        tree: Tree = {}

        def write(node: Node, path: str) -> None:
            if not node.is_folder:
                tree[path] = node.synced_content
                return
            tree[path] = None
            lost = cut is Cut.NAMES_LOST or (cut is Cut.MIXED and rng.random() < 0.5)
            entries = node.synced_entries if lost else node.entries
            for name in sorted(entries):
                write(entries[name], f"{path}/{name}")

        write(self._root, "")
        return tree
