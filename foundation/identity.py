"""Whether Python finds our own packages: their names are generic, and a foreign package of the same
name wins where it stands earlier on Python's path, or was installed into the same folder later.

The command line and every child process ask at their start. A program that imports `robustness` by
itself gets whatever its path has first: no check of ours can run there.
"""

import base64
import hashlib
import os
from importlib import util
from pathlib import Path

from foundation.errors import ConfigError

PACKAGES = (
    "gauntlet",
    "gauntlet_kubeflow",
    "pipeline",
    "components",
    "trainer",
    "robustness",
    "foundation",
)
HOME = Path(__file__).resolve().parents[1]
"""Where all of them lie: the checkout, or the folder that the wheel was installed into."""


def check_own_packages() -> None:
    """Import nothing and compare folders.

    Raises:
        ConfigError: a package is not ours; the message says whose it is, why it wins, and the cure.
    """
    for package in PACKAGES:
        folder = _folder(package)
        if folder and folder.resolve().parent != HOME:
            raise ConfigError(
                f"Python finds another package {package} in {folder} before Gauntlet's own in "
                f"{HOME}: {_cause(package, folder)}"
            )
    if replaced := _replaced():
        raise ConfigError(
            f"another package was installed over Gauntlet's own {replaced} in {HOME}: "
            f"{_cure(replaced)}"
        )


def _folder(package: str) -> Path | None:
    """Where Python would import the package from; None when there is none."""
    spec = util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    if places:
        return Path(next(iter(places)))
    return Path(spec.origin) if spec and spec.origin else None  # a module: `trainer.py`


def _cause(package: str, folder: Path) -> str:
    """Why a foreign package wins, and what to do."""
    place = folder.resolve().parent
    named = os.environ.get("PYTHONPATH")
    if named and place in {Path(entry).resolve() for entry in named.split(os.pathsep)}:
        return f"PYTHONPATH names {folder.parent}; take it out"
    if place == Path.cwd().resolve():
        return "Python looks in the current directory first; set PYTHONSAFEPATH=1, or go elsewhere"
    return _cure(package)


def _cure(package: str) -> str:
    """What to do about a foreign package that is installed."""
    from importlib import metadata  # slow to import, and nearly never needed

    alone = "give Gauntlet an environment of its own"
    installed = metadata.packages_distributions().get(package, ())
    owners = {name for name in installed if name and name != "gauntlet-tfx"}
    if not owners:
        return alone
    return f"uninstall {', '.join(sorted(owners))} and install Gauntlet again, or {alone}"


def _replaced() -> str | None:
    """The package of an installed wheel whose `__init__.py` is not the one that came with it."""
    for record in HOME.glob("gauntlet_tfx-*.dist-info/RECORD"):
        for line in record.read_text().splitlines():
            file, _, recorded = line.partition(",")
            package, _, module = file.partition("/")
            ours = package in PACKAGES and module == "__init__.py"
            if ours and not recorded.startswith(_recorded(HOME / file)):
                return package
    return None


def _recorded(file: Path) -> str:
    """How pip notes down a file's content."""
    digest = hashlib.sha256(file.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},"
