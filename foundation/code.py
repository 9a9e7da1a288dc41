"""Keys of our own code, so that TFX's cache sees an edit: it knows a node by its class and
parameters only.

What a module needs is read from its source and never imported, so a key costs milliseconds. No
module that a node runs may read files of its package other than Python's: a key does not see them.
"""

import ast
import hashlib
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import util
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from pathlib import Path

from foundation.environment import numbers

OURS = ("components", "foundation", "robustness", "trainer")
"""Top-level packages that nodes run; what a user wrote is in a key wherever it is not installed."""

STACK = (
    "apache-beam",
    "h5py",
    "keras",
    "keras-tuner",
    "neural-structured-learning",
    "numpy",
    "pillow",
    "pydantic",
    "scipy",
    "tensorflow",
    "tensorflow-data-validation",
    "tensorflow-datasets",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "tf-keras",
    "tfx",
    "tfx-bsl",
)
"""What computes beneath us: another version of any of it is another key of every node. All of it is
in `requirements.lock`, so that a machine and an image have the same keys."""

LIBRARIES = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
"""Folders whose modules are Python's own or installed."""

NAMED = re.compile(rf"(?<![\w.])(?:{'|'.join(OURS)})(?:\.\w+)+")
"""A module of ours, or something in it, by its dotted name."""


def code_of(*names: str) -> str:
    """Hash of the named modules, of all code of ours that they need, of the stack's versions, and
    of what in the shell changes numbers.

    names: modules, or things in them, such as `trainer.train.run_fn`; ours, or a user's own.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256(f"{_versions()} {numbers(os.environ)}".encode())
    for module, path in sorted(modules_of(*names).items()):
        digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def _versions() -> str:
    return " ".join(f"{name}=={version(name)}" for name in STACK)


def named_in(text: str) -> list[str]:
    """What is named of our modules anywhere in a text."""
    return NAMED.findall(text)


def modules_of(*names: str) -> dict[str, Path]:
    """Files of the named modules and of all that they need, by module: imports wherever they stand,
    modules that a string names, as in `Child("components.datasets.worker:run")`, and what a package
    around a module imports when the module is imported."""
    own = {*OURS, *map(_top, names)}
    is_users = cache(_is_users)
    files: dict[str, Path] = {}
    seen = {("", False), ("", True)}
    todo = [(name, True) for name in names]
    while todo:
        name, used = todo.pop()
        if (name, used) in seen or not (_top(name) in own or is_users(_top(name))):
            continue
        seen.add((name, used))
        parent, path = name.rpartition(".")[0], _file(name)
        todo.append((parent, path is None))  # without a file, it is something in its parent
        if path:
            files[name] = path
            package = name if path.name == "__init__.py" else parent
            todo += [(need, True) for need in _needs(path.read_bytes(), package, used)]
    if missing := {*map(_top, names)} - {*map(_top, files)}:
        raise ModuleNotFoundError(f"No module named {', '.join(sorted(missing))}")
    return files


@cache
def _needs(source: bytes, package: str, used: bool) -> frozenset[str]:
    """Names of modules, and of things in modules, that a source in that package mentions.

    used: whether something in it is used; otherwise it is only run, as a package around a module
    that is imported, and neither its functions nor its strings count.
    """
    nodes = _run(ast.parse(source), ast.FunctionDef if not used else ())
    return frozenset(name for node in nodes for name in _mentions(node, package, used))


def _run(node: ast.AST, without: type[ast.AST] | tuple[()]) -> Iterator[ast.AST]:
    """The node and all below it, without a kind of nodes, and without what is for type checkers."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        children = node.orelse
    for child in children:
        if not isinstance(child, without):
            yield from _run(child, without)


def _mentions(node: ast.AST, package: str, used: bool) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = util.resolve_name("." * level + (module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in names)
        case ast.Constant(value=str(text)) if used and NAMED.fullmatch(text.partition(":")[0]):
            yield text.partition(":")[0]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _file(name: str) -> Path | None:
    """The source of a module; None where the name is that of a folder, or of something in a
    module."""
    top, *inside = name.split(".")
    spec = _spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        is_file = spec.has_location and not inside
        return Path(spec.origin) if is_file and spec.origin else None
    bases = [Path(folder, *inside) for folder in spec.submodule_search_locations]
    files = [file for base in bases for file in (base / "__init__.py", Path(f"{base}.py"))]
    return next(filter(Path.is_file, files), None)


def _is_users(top: str) -> bool:
    """Whether a top-level module is neither Python's own nor installed: a user's, who edits it."""
    spec = _spec(top)
    if spec is None:
        return False
    place = Path(next(iter(spec.submodule_search_locations or ()), spec.origin or ""))
    return place.is_absolute() and not any(place.is_relative_to(folder) for folder in LIBRARIES)


def _spec(top: str) -> ModuleSpec | None:
    """Where Python finds a top-level module; one that it does not find may lie in the working
    directory, see `trainer.network.users_function`."""
    return util.find_spec(top) or PathFinder.find_spec(top, [os.getcwd()])
