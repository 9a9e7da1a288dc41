"""Hashes of our own code, so that TFX's cache sees an edit: it knows a node by its class and
parameters only."""

import hashlib
from importlib import resources, util
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path

STACK = ("tensorflow", "tfx", "neural-structured-learning")


def code_hash(*modules: str) -> str:
    """Hash of the modules' Python files, all of them where it is a package, and of the versions of
    what they stand on."""
    digest = hashlib.sha256(" ".join(f"{name}=={version(name)}" for name in STACK).encode())
    for module in modules:
        for path, content in sorted(_python_files(module).items()):
            digest.update(path.encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def _python_files(module: str) -> dict[str, bytes]:
    spec = util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is None and spec.origin:
        return {f"{module}.py": Path(spec.origin).read_bytes()}
    return _of_package(resources.files(module), module)


def _of_package(folder: Traversable, path: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        inside = f"{path}/{entry.name}"
        if entry.is_dir():
            found |= _of_package(entry, inside)
        elif entry.name.endswith(".py"):
            found[inside] = entry.read_bytes()
    return found
