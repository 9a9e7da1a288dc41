"""A user's own images: a folder of splits with a folder for each class, the layout of tfds's
ImageFolder.

    ROOT/train/cat/1.png  ROOT/train/dog/2.jpg  ROOT/test/cat/3.png  ...

`describe` looks at names and one image only; `store` decodes every image, in the child process that
prepares data, and writes an ordinary prepared data set, so that nothing else knows folders.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import DataError
from foundation.events import Progress

log = logging.getLogger("gauntlet.data")

NAME, VERSION = "image_folder", "1.0.0"
LAYOUT = "SPLIT/CLASS/IMAGE, such as train/cat/1.png, with the splits train and test"
FILENAME = "filename"
"""The feature with an image's path below the folder: its id in everything that follows."""

ENDINGS = (".png", ".jpg", ".jpeg")
CHANNELS = {"1": 1, "L": 1, "RGB": 3, "P": 3}
"""Pillow's modes that decode to 8 bits a channel without loss, and their channels."""

SPAN = "span-"
"""How the name of a span's folder begins; its number follows."""

HELD_OUT = 12
"""Without a split for validation, one image in so many of the training split is held out."""


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """What lies in a folder. files: by split, paths relative to `root`, sorted. image_shape: of the
    first image."""

    root: Path
    files: dict[str, list[str]]
    classes: list[str]
    image_shape: tuple[int, int, int]

    @property
    def splits(self) -> dict[str, str]:
        """Our splits as tfds splits. The images are shuffled when they are stored, so a part is a
        fair sample."""
        held_out = next(
            (name for name in ("validation", "val", "valid") if name in self.files), None
        )
        cut = len(self.files["train"]) - max(1, len(self.files["train"]) // HELD_OUT)
        own = {"train": f"train[:{cut}]", "validation": f"train[{cut}:]"}
        return (own if held_out is None else {"train": "train", "validation": held_out}) | {
            "test": "test"
        }


def spans(dataset: str) -> dict[int, Path]:
    """The spans in a folder of spans, `span-1`, `span-2` and so on, each a folder of images; empty
    for any other."""
    root = Path(dataset).expanduser().absolute()
    names = (
        {entry.name.removeprefix(SPAN): entry for entry in _folders(root)} if root.is_dir() else {}
    )
    return {
        int(name): entry
        for name, entry in names.items()
        if entry.name.startswith(SPAN) and name.isdigit()
    }


def is_folder(dataset: str) -> bool:
    """Whether a data set's name is the path of a folder: it begins with `/`, `~` or a dot."""
    return dataset.startswith(("/", "~", "."))


def describe(dataset: str) -> ImageFolder:
    """Look at a folder.

    Raises:
        DataError: it does not have the layout; the message names the place and what was expected.
    """
    root = Path(dataset).expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; expected one of {LAYOUT}")
    files = {split.name: list(_images(root, split)) for split in _folders(root)}
    files = {split: sorted(found) for split, found in files.items() if found}
    for split in ("train", "test"):
        if split not in files:
            raise DataError(
                f"{root} has no images in {split}/CLASS/; expected {LAYOUT}; its folders are "
                f"{_names(root)}"
            )
    classes = _classes(root, files)
    first = root / files["train"][0]
    return ImageFolder(
        root=root, files=files, classes=classes, image_shape=image_shape(first, decode=False)
    )


def fingerprint(folder: ImageFolder) -> str:
    """SHA-256 in hex of all names and contents; it does not depend on where the folder lies or on
    its times."""
    digest, total = hashlib.sha256(), sum(map(len, folder.files.values()))
    progress = Progress("reading", total)
    done = 0
    for split, names in sorted(folder.files.items()):
        for name in names:
            with open(folder.root / name, "rb") as file:
                digest.update(
                    f"{split} {name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
            done += 1
            progress.update(done)
    return digest.hexdigest()


def store(folder: ImageFolder, data_dir: str, config: str) -> None:
    """Write the folder as a prepared tfds data set below `data_dir`.

    Args:
        folder: from `describe`.
        data_dir: a tfds root.
        config: names the content, as a tfds config.

    Raises:
        DataError: an image cannot be decoded, or has another shape than the first one.
    """
    import tensorflow_datasets as tfds

    progress = Progress("preparing", sum(map(len, folder.files.values())))
    done = 0

    def examples(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal done
        for name in names:
            shape = image_shape(folder.root / name)
            if shape != folder.image_shape:
                raise DataError(
                    f"{folder.root / name} has the shape {shape} (height, width, channels), the "
                    f"first image ({folder.files['train'][0]}) has {folder.image_shape}; bring all "
                    "images to one shape"
                )
            yield (
                name,
                {"image": str(folder.root / name), "label": Path(name).parts[1], FILENAME: name},
            )
            done += 1
            progress.update(done)

    tfds.dataset_builders.store_as_tfds_dataset(
        name=NAME,
        version=VERSION,
        config=config,
        data_dir=data_dir,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=folder.image_shape),
                "label": tfds.features.ClassLabel(names=folder.classes),
                FILENAME: tfds.features.Text(),
            }
        ),
        split_datasets={split: examples(names) for split, names in folder.files.items()},
    )


def image_shape(path: Path, decode: bool = True) -> tuple[int, int, int]:
    """Height, width and channels of an image file.

    Raises:
        DataError: it cannot be decoded, or has more than 8 bits a channel or an alpha channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if decode:
                image.load()
            mode, (width, height) = image.mode, image.size
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f"{path} cannot be decoded as an image ({error}); replace or remove it"
        ) from error
    if mode not in CHANNELS:
        raise DataError(
            f"{path} has the colour mode {mode}; expected grey or RGB with 8 bits a channel: "
            "convert it, for instance with Pillow's Image.convert('RGB')"
        )
    return height, width, CHANNELS[mode]


def _images(root: Path, split: Path) -> Iterator[str]:
    """Relative paths of the images of one split; raises DataError for an empty class folder."""
    for label in _folders(split):
        found = [path for path in label.iterdir() if path.suffix.lower() in ENDINGS]
        if not found:
            raise DataError(f"{label} holds no images ({', '.join(ENDINGS)}); fill it or remove it")
        yield from (str(path.relative_to(root)) for path in found)


def _classes(root: Path, files: dict[str, list[str]]) -> list[str]:
    by_split = {split: {Path(name).parts[1] for name in names} for split, names in files.items()}
    classes = sorted(by_split["train"])
    if len(classes) < 2:
        raise DataError(
            f"{root / 'train'} has one class only ({classes[0]}); a classifier needs two or more"
        )
    for split, found in by_split.items():
        if unknown := sorted(found - set(classes)):
            raise DataError(
                f"{root / split} has classes that {root / 'train'} has not: {', '.join(unknown)}"
            )
    return classes


def _folders(path: Path) -> list[Path]:
    return sorted(
        entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _names(path: Path) -> str:
    return ", ".join(folder.name for folder in _folders(path)) or "none"
