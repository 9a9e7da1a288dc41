"""From a data set's name to a verified, prepared folder: the entry of this package.

Sources, in order: data already on disk, TFDS's own download, a mirror of the official archives.
Whichever it is, the stock TFDS builder prepares the data and checks its own checksums.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.datasets import image_folder, prepared, stock, workspace
from components.datasets.prepared import PreparedDataset
from components.mirrors import archives
from components.mirrors.mirror import MIRRORS
from foundation.errors import DataError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["PreparedDataset", "prepare"]

log = logging.getLogger("gauntlet.data")

ARCHIVES_ROOT = "tfds"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be prepared and where: `root / relative` is the version folder."""

    dataset: str
    name: str
    root: Path
    relative: Path
    builder: "tfds.core.DatasetBuilder"

    @property
    def directory(self) -> Path:
        return self.root / self.relative

    @property
    def is_filled(self) -> bool:
        return _is_filled(self.directory)


def prepare(dataset: str, data_dir: str | None) -> PreparedDataset:
    """Make sure that `dataset` (as `tfds.builder` takes it) is prepared on disk, and verify it.

    `data_dir` is a TFDS root, a prepared version folder or its parent, a folder with all official
    archives (prepared into its subfolder `tfds`, or TFDS's default root if that cannot be written),
    or an empty or missing folder, which becomes a TFDS root. None means TFDS's default root. Data
    that is already prepared is only read. Nothing half done is left behind; other processes that
    prepare the same data set into the same root wait. Raises DataError with what to do.

    `dataset` may also be a folder of the user's own images (`components.datasets.image_folder`);
    `data_dir` is then the TFDS root into which it is prepared.
    """
    folder = _local_folder(data_dir)
    if image_folder.is_folder(dataset):
        return _from_image_folder(dataset, folder)
    if folder is not None and prepared.looks_prepared(folder, dataset):
        return prepared.inspect(folder, _wanted_name(dataset))
    target = _target(dataset, folder)
    if folder is None:
        return _ensure(target, _from_network)
    beside = folder / target.relative.name  # the user passed the version folder's parent
    if _is_filled(beside):
        return prepared.inspect(beside, target.name)
    if not target.is_filled and archives.find(folder, stock.checksums(target.builder)):
        return _from_archives(dataset, folder)
    return _ensure(target, _from_network)


def _local_folder(data_dir: str | None) -> Path | None:
    if data_dir is None:
        return None
    if "://" in data_dir:
        raise DataError(f"data_dir {data_dir}: expected a local folder; copy the data to one")
    folder = Path(
        os.path.realpath(Path(data_dir).expanduser())
    )  # messages name the place, not a link to it
    try:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"data_dir {folder}: expected a folder, got a file; pass its folder")
        if folder.is_dir():
            next(folder.iterdir(), None)
    except OSError as error:
        raise DataError(
            f"data_dir {folder} cannot be read ({error.strerror}); pass a folder that you may read"
        ) from error
    return folder


def _target(dataset: str, root: Path | None) -> Target:
    builder = stock.load_builder(dataset, None if root is None else str(root))
    actual_root = Path(builder.data_dir_root).expanduser()
    return Target(
        dataset=dataset,
        name=prepared.full_name(builder),
        root=actual_root,
        relative=Path(builder.data_path).expanduser().relative_to(actual_root),
        builder=builder,
    )


def _wanted_name(dataset: str) -> str:
    """The name that `tfds.builder` gives to `dataset`; names of users' own sets are taken as is."""
    try:
        return prepared.full_name(stock.load_builder(dataset, None))
    except DataError:
        return dataset.partition(":")[0]


def _is_filled(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _ensure(target: Target, fill: Callable[[Target], None]) -> PreparedDataset:
    """Have `fill` prepare the target unless it is there, one process at a time; then verify it."""
    if not target.is_filled:
        with workspace.exclusive(target.root, target.name):
            if not target.is_filled:  # another process may have filled it while we waited
                _fill(target, fill)
    return prepared.inspect(target.directory, target.name)


def _fill(target: Target, fill: Callable[[Target], None]) -> None:
    try:
        fill(target)
    except OSError as error:
        raise DataError(
            f"cannot prepare {target.directory}: {error}. Check its disk and permissions"
        ) from error


def _from_archives(dataset: str, folder: Path) -> PreparedDataset:
    """Prepare from the user's archives; no other source is tried, since they asked for these."""
    target = _target(dataset, folder / ARCHIVES_ROOT)
    if not target.is_filled:
        archives.check(folder, stock.checksums(target.builder))
        if not workspace.is_writable(target.root):
            target = _target(dataset, None)
            log.info("%s cannot be written, preparing into %s", folder, target.root)
    return _ensure(target, lambda target: _generate(target, lambda _: folder))


def _from_image_folder(dataset: str, root: Path | None) -> PreparedDataset:
    """Store the images where these very ones have not been stored yet."""
    import tensorflow_datasets as tfds

    images = image_folder.describe(dataset)
    config = image_folder.fingerprint(images)[:16]
    name = f"{image_folder.NAME}/{config}"
    root = root or Path(os.path.expanduser(tfds.core.constants.DATA_DIR))
    directory = root / name / image_folder.VERSION
    with workspace.exclusive(root, name):
        if not _is_filled(directory):
            with workspace.work_folder(root, name) as work:
                log.info("preparing %s in %s", images.root, directory)
                stock.run(
                    stock.Preparation(dataset=str(images.root), root=str(work), config=config)
                )
                directory.parent.mkdir(parents=True, exist_ok=True)
                (work / name / image_folder.VERSION).rename(directory)
    return prepared.inspect(directory, name)


def _from_network(target: Target) -> None:
    """Try TFDS's own host, then the mirror; raises one DataError that lists every attempt."""
    host = urlsplit(stock.download_url(target.builder) or "").netloc or "its hosts"
    sources = [(f"TFDS's own download from {host}", _download)]
    if target.name in MIRRORS:
        sources.append((MIRRORS[target.name].title, _fetch_mirror))
    attempts = [f"prepared data in {target.directory}: there is none"]
    for title, source in sources:
        log.info("trying %s", title)
        try:
            return source(target)
        except (DataError, OSError) as error:
            log.info("%s does not work: %s", title, error)
            attempts.append(f"{title}: {error}")
    raise DataError(_no_source(target, attempts))


def _download(target: Target) -> None:
    url = stock.download_url(target.builder)
    if url and (problem := stock.unreachable(url)):
        raise DataError(problem)
    _generate(target, lambda _: None)


def _fetch_mirror(target: Target) -> None:
    def fetch(work: Path) -> Path:
        folder = work / "archives"
        folder.mkdir()
        MIRRORS[target.name].fetch(folder, stock.checksums(target.builder))
        return folder

    _generate(target, fetch)


def _generate(target: Target, get_archives: Callable[[Path], Path | None]) -> None:
    """Prepare in a temporary folder inside the root, and move the result into place at once.

    `get_archives` gets that folder and says where the archives are; None lets TFDS download them.
    """
    with workspace.work_folder(target.root, target.name) as work:
        manual_dir = get_archives(work)
        log.info("preparing %s in %s", target.name, target.directory)
        stock.run(
            stock.Preparation(
                dataset=target.dataset,
                root=str(work),
                manual_dir=None if manual_dir is None else str(manual_dir),
                examples=MIRRORS[target.name].examples if target.name in MIRRORS else 0,
            )
        )
        target.directory.parent.mkdir(parents=True, exist_ok=True)
        (work / target.relative).rename(target.directory)


def _no_source(target: Target, attempts: list[str]) -> str:
    tried = "\n".join(f"  {number}. {attempt}" for number, attempt in enumerate(attempts, start=1))
    files = ", ".join(stock.checksums(target.builder))
    by_hand = f", or put {files} into one folder and pass it as --data-dir" if files else ""
    return (
        f"no source could provide the data set {target.name!r}:\n{tried}\n"
        f"What to do: connect this machine to one of these{by_hand}, or pass as --data-dir a TFDS "
        f"root from another machine that holds {target.relative}."
    )
