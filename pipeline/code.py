"""Hashes of our own code, so that TFX's cache sees an edit: it knows a node by its class and parameters only."""

import hashlib
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable

STACK = ("tensorflow", "tfx", "neural-structured-learning")


def code_hash(*packages: str) -> str:
    """Hash of all Python files of the packages, and of the versions of what they stand on."""
    digest = hashlib.sha256(" ".join(f"{name}=={version(name)}" for name in STACK).encode())
    for package in packages:
        for path, file in sorted(_python_files(resources.files(package), package).items()):
            digest.update(path.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _python_files(folder: Traversable, path: str) -> dict[str, Traversable]:
    found: dict[str, Traversable] = {}
    for entry in folder.iterdir():
        inside = f"{path}/{entry.name}"
        if entry.is_dir():
            found |= _python_files(entry, inside)
        elif entry.name.endswith(".py"):
            found[inside] = entry
    return found
