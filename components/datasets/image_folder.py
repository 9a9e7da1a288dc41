"""A user's own images: a folder of splits with a folder for each class, the layout of tfds's
ImageFolder.

    ROOT/train/cat/1.png  ROOT/train/dog/2.jpg  ROOT/test/cat/3.png  ...

`describe` looks at every file once, at the head of it, and refuses what cannot be taken;
`folder.store` decodes every image, in the child process that prepares data, and writes an ordinary
prepared data set, so that nothing else knows folders.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.datasets.folder import spans
from components.datasets.folder.content import FORMATS, Look, Unusable, look
from components.datasets.folder.layout import SHOWN, Layout, Unused, folders, links_out, walk
from components.datasets.folder.names import in_order, is_utf8, readable
from components.datasets.folder.parallel import mapped
from components.datasets.folder.problems import Problems
from foundation.errors import ConfigError, DataError, RefusedData
from foundation.events import Progress
from trainer.classes import normalised

NAME, VERSION = "image_folder", "2.0.0"
"""Of the prepared data set; the version goes up when other pixels are stored for the same files."""

LAYOUT = "SPLIT/CLASS/IMAGE, such as train/cat/1.png, with the splits train and test"
FILENAME = "filename"
"""The feature with an image's path below the folder: its id in everything that follows."""

VALIDATION = ("validation", "val", "valid")
"""Names of a split for validation; the first one that is there is taken."""

HELD_OUT = 12
"""Without a split for validation, one image in so many of the training split is held out."""

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """What is taken of a folder.

    files: by split, paths relative to `root`, sorted. classes: names in the order of their labels.
    image_shape: height, width, channels of every image, once it is resized. resize: height and
    width to which all are brought; None where they have one size. formats, sizes: how many images
    have each. unused: files that are not taken, by reason.
    """

    root: Path
    files: dict[str, list[str]]
    classes: list[str]
    image_shape: tuple[int, int, int]
    resize: Size | None
    formats: dict[str, int]
    sizes: dict[Size, int]
    unused: dict[str, Unused]

    @property
    def splits(self) -> dict[str, str]:
        """Our splits as tfds splits. The images are shuffled when they are stored, so a part is a
        fair sample.

        Raises:
            DataError: there are no images in `train` or in `test`, or none of a class in `test`.
        """
        for split in ("train", "test"):
            if split not in self.files:
                raise RefusedData(_no_images(self.root, split))
        if unseen := sorted(set(self.classes) - set(map(class_of, self.files["test"]))):
            raise RefusedData(
                f"{self.root / 'test'} has no image of {_some(unseen)}, so nobody could judge what "
                f"becomes of that; its classes must be those of {self.root / 'train'}: add images "
                "to test, or remove the class from train"
            )
        held_out = self.held_out
        cut = len(self.files["train"]) - max(1, len(self.files["train"]) // HELD_OUT)
        own = {"train": f"train[:{cut}]", "validation": f"train[{cut}:]"}
        return (own if held_out is None else {"train": "train", "validation": held_out}) | {
            "test": "test"
        }

    @property
    def held_out(self) -> str | None:
        """The split for validation that the folder has itself."""
        return next((name for name in VALIDATION if name in self.files), None)


def is_folder(dataset: str) -> bool:
    """Whether a data set's name is the path of a folder: it begins with `/`, `~` or a dot."""
    return dataset.startswith(("/", "~", "."))


def looks_like_folder(dataset: str) -> bool:
    """Whether a name that is no path is one of a folder of images where the user stands."""
    root = Path(dataset)
    if is_folder(dataset) or not dataset or not root.is_dir():
        return False
    return any((root / split).is_dir() for split in ("train", "test")) or bool(spans.spans(dataset))


def describe(dataset: str, resize: Size | None = None) -> ImageFolder:
    """Look at a folder: every file that lies where images are expected, by its content.

    Args:
        dataset: path of the folder.
        resize: height and width to which all images will be brought.

    Raises:
        ConfigError: there is no such folder.
        DataError: it does not have the layout, or holds what cannot be taken; the message names
            the places, what was expected, and what to do.
    """
    root = Path(dataset).expanduser().absolute()
    if not is_utf8(root):
        raise DataError(f"{readable(root)}: the name of this folder is not UTF-8; rename it")
    if not root.is_dir():
        raise ConfigError(f"{root}: there is no such folder; expected one of {LAYOUT}")
    if series := spans.spans(dataset):
        raise DataError(
            f"{root} is a folder of spans; expected one of {LAYOUT}: name a span, such as "
            f"{list(series.values())[-1]}"
        )
    _require_own(root)
    layout = walk(root)
    _set_strangers_aside(layout)
    looks = _looks(root, layout)
    files = {split: _taken(root, split, layout, looks) for split in sorted(layout.files)}
    files = {split: names for split, names in files.items() if names}
    if not files:
        raise RefusedData(_no_images(root, "train"))
    size, channels = _shape(root, looks, resize)
    return ImageFolder(
        root=root,
        files=files,
        classes=_classes(root, files),
        image_shape=(*size, channels),
        resize=resize,
        formats=dict(Counter(found.format for found in looks.values()).most_common()),
        sizes=dict(Counter(found.shape[:2] for found in looks.values()).most_common()),
        unused=dict(layout.unused),
    )


def fingerprint(folder: ImageFolder) -> str:
    """SHA-256 in hex of all names and contents, and of the size to which they are brought; it does
    not depend on where the folder lies or on its times."""
    digest, total = begin_digest(folder), sum(map(len, folder.files.values()))
    progress, done = Progress("reading", total), 0
    for split, names in folder.files.items():
        for name, content in mapped(lambda name: _sha256(folder.root / name), names):
            add_to_digest(digest, split, name, content)
            done += 1
            progress.update(done)
    return digest.hexdigest()


def begin_digest(folder: ImageFolder) -> "hashlib._Hash":
    """A digest of a folder before any file."""
    return hashlib.sha256(f"resize {folder.resize}\n".encode() if folder.resize else b"")


def add_to_digest(digest: "hashlib._Hash", split: str, name: str, content: str) -> None:
    """One more file, by split and name in their order. content: SHA-256 in hex."""
    digest.update(f"{split} {name} {content}\n".encode())


def class_of(name: str) -> str:
    """The class of an image, by its path below the folder: in one form of Unicode (NFC), since
    systems differ in how they write the same name."""
    return unicodedata.normalize("NFC", _class_folder(name))


def _class_folder(name: str) -> str:
    """The name of a class as the folder has it."""
    return name.split("/")[1]


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{readable(path)} cannot be read ({error.strerror})") from error


def _require_own(root: Path) -> None:
    """Raises DataError where links lead to files that are not the folder's."""
    problems, links = Problems(root), links_out(root)
    for name in links:
        target = readable(os.path.realpath(root / name))
        problems.add(name, f"is a link that leaves the folder, to {target}; put the files in place")
    problems.refuse(len(links), "links")


def _set_strangers_aside(layout: Layout) -> None:
    """A folder of an unusual name with classes of its own is no split of these data."""
    usual = ("train", "test", *VALIDATION)
    first = next((layout.files[split] for split in usual if layout.files.get(split)), {})
    known = set(normalised(list(first)))
    for split, by_class in list(layout.files.items()):
        if split in usual or known.issuperset(normalised(list(by_class))):
            continue
        unused = layout.unused[f"in {split}, which has classes that no split has"]
        for names in layout.files.pop(split).values():
            for name in names:
                unused.add(name)


def _looks(root: Path, layout: Layout) -> dict[str, Look]:
    """What each image is, by its name; files that are none are set aside.

    Raises:
        DataError: there are images that cannot be taken; all of them are counted.
    """
    names = [
        name for by_class in layout.files.values() for files in by_class.values() for name in files
    ]
    problems, looks = Problems(root), {}
    progress = Progress("looking at images", len(names))
    for done, (name, found) in enumerate(mapped(lambda name: _look(root, name), names), start=1):
        progress.update(done)
        if isinstance(found, Unusable):
            problems.add(name, str(found))
        elif found is None:
            layout.unused["in a class, and no image"].add(name)
        else:
            looks[name] = found
    problems.refuse(len(names))
    return looks


def _look(root: Path, name: str) -> Look | Unusable | None:
    try:
        found = look(root / name)
    except Unusable as error:
        return error
    if found and not is_utf8(name):
        return Unusable("has a name that is not UTF-8; rename it")
    return found


def _taken(root: Path, split: str, layout: Layout, looks: Mapping[str, Look]) -> list[str]:
    """The images of a split; raises DataError for a class folder without any."""
    taken = []
    for label, names in layout.files[split].items():
        images = [name for name in names if name in looks]
        if not images:
            raise RefusedData(
                f"{readable(root / split / label)} holds no images ({', '.join(FORMATS)}); fill it "
                "or remove it"
            )
        taken += images
    return sorted(taken)


def _shape(root: Path, looks: Mapping[str, Look], resize: Size | None) -> tuple[Size, int]:
    """Size and channels of all images; raises DataError where they have several."""
    first: dict[int | Size, str] = {}
    for name, found in looks.items():
        first.setdefault(found.shape[2], name)
        first.setdefault(found.shape[:2], name)
    channels = Counter(found.shape[2] for found in looks.values())
    if len(channels) > 1:
        raise RefusedData(
            f"{root} has grey images ({channels[1]:,}, such as {readable(first[1])}) and images "
            f"with colours ({channels[3]:,}, such as {readable(first[3])}); expected one of both: "
            "convert all of them, for instance with Pillow's Image.convert('RGB')"
        )
    sizes = Counter(found.shape[:2] for found in looks.values())
    if len(sizes) > 1 and not resize:
        common = [
            f"{count:,} of {size[0]} x {size[1]} (such as {readable(first[size])})"
            for size, count in sizes.most_common(SHOWN)
        ]
        usual = "{},{}".format(*sizes.most_common(1)[0][0])
        raise RefusedData(
            f"{root} has images of {len(sizes)} sizes (height x width): {', '.join(common)}"
            f"{', ...' if len(sizes) > SHOWN else ''}; expected one: have them resized, for "
            f"instance with data.resize={usual} (gauntlet run --set) or --resize {usual}"
        )
    ((channel, _),) = channels.items()
    return resize or next(iter(sizes)), channel


def _classes(root: Path, files: dict[str, list[str]]) -> list[str]:
    for split, names in files.items():
        in_order(set(map(_class_folder, names)), str(root / split))
    by_split = {split: set(map(class_of, names)) for split, names in files.items()}
    split = "train" if "train" in files else max(files, key=lambda split: len(by_split[split]))
    classes = in_order(by_split[split], str(root / split))
    if len(classes) < 2:
        raise RefusedData(
            f"{root / split} has one class only ({classes[0]}); a classifier needs two or more"
        )
    for other, found in by_split.items():
        if unknown := sorted(map(readable, found - set(classes))):
            raise RefusedData(
                f"{root / other} has classes that {root / split} has not: {', '.join(unknown)}; "
                f"the classes there are {_some(classes)}"
            )
    return classes


def _some(names: Iterable[str], most: int = 10) -> str:
    shown = list(map(readable, names))
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")


def _no_images(root: Path, split: str) -> str:
    return (
        f"{root} has no images in {split}/CLASS/; expected {LAYOUT}; its folders are "
        f"{_some(folders(root)) or 'none'}"
        + (f"; is one of these meant for a span? {spans.EXPECTED}" if spans.doubtful(root) else "")
    )
