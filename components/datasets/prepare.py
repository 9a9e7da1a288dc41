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
from components.datasets.folder.store import read_notes
from components.datasets.folder.summary import summary
from components.datasets.image_folder import ImageFolder
from components.datasets.prepared import PreparedDataset
from components.mirrors import archives
from components.mirrors.mirror import MIRRORS
from foundation.errors import ConfigError, DataError, GauntletError
from foundation.events import Fields

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["PreparedDataset", "found", "prepare", "prepare_folder"]

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


def prepare(
    dataset: str, data_dir: str | None, resize: image_folder.Size | None = None
) -> PreparedDataset:
    """Make sure that `dataset` (as `tfds.builder` takes it) is prepared on disk, and verify it.

    `data_dir` is a TFDS root, a prepared version folder or its parent, a folder with all official
    archives (prepared into its subfolder `tfds`, or TFDS's default root if that cannot be written),
    or an empty or missing folder, which becomes a TFDS root. None means TFDS's default root. Data
    that is already prepared is only read. Nothing half done is left behind; other processes that
    prepare the same data set into the same root wait.

    `dataset` may also be a folder of the user's own images (`components.datasets.image_folder`);
    `data_dir` is then the TFDS root into which it is prepared, and `resize` the height and width to
    which all of them are brought.

    Raises:
        ConfigError: there is no such data set, or it cannot be resized.
        DataError: it cannot be prepared; the message says what to do.
    """
    if image_folder.is_folder(dataset):
        return prepare_folder(image_folder.describe(dataset, resize), data_dir)
    if resize and not dataset.startswith(f"{image_folder.NAME}/"):
        raise ConfigError(f"only a folder of images is resized; {dataset} has images of one size")
    folder = _local_folder(data_dir)
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


def found(
    dataset: str, data_dir: str | None, resize: image_folder.Size | None = None
) -> PreparedDataset | None:
    """The data that `prepare` would only read, because it is there already; None where it would be
    fetched or stored first. Writes nothing.

    Raises:
        ConfigError, DataError: as `prepare`.
    """
    folder = _local_folder(data_dir)
    if image_folder.is_folder(dataset):
        images = image_folder.describe(dataset, resize)
        name, directory = _place(images, folder)
        return prepared.inspect(directory, name) if _is_filled(directory) else None
    if folder is not None and prepared.looks_prepared(folder, dataset):
        return prepared.inspect(folder, _wanted_name(dataset))
    target = _target(dataset, folder)
    places = [target.directory]
    if folder is not None:
        places = [folder / target.relative.name, *places, folder / ARCHIVES_ROOT / target.relative]
        if archives.find(folder, stock.checksums(target.builder)):
            places.append(_target(dataset, None).directory)
    filled = next(filter(_is_filled, places), None)
    return prepared.inspect(filled, target.name) if filled else None


def prepare_folder(images: ImageFolder, data_dir: str | None) -> PreparedDataset:
    """Tell what is taken of a folder of images, and store them where these very ones have not been
    stored yet; see `prepare`."""
    folder = _local_folder(data_dir)
    root = folder or _default_root()
    if root.is_relative_to(os.path.realpath(images.root)):
        raise ConfigError(
            f"--data-dir {root} lies in the folder of the images themselves, where the next "
            "call would take it for a split; name another one"
        )
    _tell(summary(images))
    name, directory = _place(images, folder)
    if directory != folder:
        with workspace.exclusive(root, name):
            if not _is_filled(directory):
                _store(images, root, name.rpartition("/")[2], directory)
    stored = prepared.inspect(directory, name)
    if stored.version != image_folder.VERSION:
        raise DataError(
            f"{directory} was prepared by version {stored.version}, which stored other pixels; "
            f"expected {image_folder.VERSION}: name another --data-dir to have it prepared afresh"
        )
    _tell([f"  note: {note}" for note in read_notes(directory)])
    return stored


def _place(images: ImageFolder, folder: Path | None) -> tuple[str, Path]:
    """Name of a folder of images as a data set, and where it is stored, or will be."""
    name = f"{image_folder.NAME}/{image_folder.fingerprint(images)[:16]}"
    if folder and prepared.looks_prepared(folder, image_folder.NAME):
        return name, folder
    return name, (folder or _default_root()) / name / image_folder.VERSION


def _default_root() -> Path:
    import tensorflow_datasets as tfds

    return Path(os.path.expanduser(tfds.core.constants.DATA_DIR))


def _tell(lines: list[str]) -> None:
    """Have a person read them."""
    for line in lines:
        log.info("%s", line, extra=Fields(stays=True))


def _store(images: ImageFolder, root: Path, config: str, directory: Path) -> None:
    with workspace.work_folder(root, images_name := f"{image_folder.NAME}/{config}") as work:
        log.info("preparing %s in %s", images.root, directory)
        stock.run(stock.Preparation(images=images, root=str(work), config=config))
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            (work / images_name / image_folder.VERSION).rename(directory)
        except OSError as error:
            raise DataError(_cannot(directory, error)) from error


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
    except GauntletError:
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
        raise DataError(_cannot(target.directory, error)) from error


def _cannot(directory: Path, error: OSError) -> str:
    return f"cannot prepare {directory}: {error}. Check its disk and permissions"


def _from_archives(dataset: str, folder: Path) -> PreparedDataset:
    """Prepare from the user's archives; no other source is tried, since they asked for these."""
    target = _target(dataset, folder / ARCHIVES_ROOT)
    if not target.is_filled:
        archives.check(folder, stock.checksums(target.builder))
        if not workspace.is_writable(target.root):
            target = _target(dataset, None)
            log.info("%s cannot be written, preparing into %s", folder, target.root)
    return _ensure(target, lambda target: _generate(target, lambda _: folder))


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
