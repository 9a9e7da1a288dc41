"""Writes a folder of images as a prepared tfds data set.

Every image is stored as a PNG of exact pixels, whatever it was: tfds, the pipeline and a server
decode PNG alike, and other formats not (TensorFlow's JPEG differs from Pillow's by up to 13 grey
levels). Images are resized by the function that the exported graph has, so that a server that gets
the original computes the pixels that were evaluated.
"""

import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from components.datasets.folder.content import Picture, Unusable, decode
from components.datasets.folder.layout import Unused
from components.datasets.folder.names import readable
from components.datasets.folder.parallel import mapped
from components.datasets.folder.problems import Problems
from components.datasets.image_folder import (
    FILENAME,
    NAME,
    VERSION,
    ImageFolder,
    add_to_digest,
    begin_digest,
    class_of,
)
from foundation.errors import DataError
from foundation.events import Progress
from foundation.json import dumps
from foundation.whole import write_text

NOTES = "notes.json"
"""File beside the prepared data: what decoding found, for whoever uses them again."""


@dataclass(frozen=True)
class _Stored:
    """An image as it is kept. content: SHA-256 of the file. pixels: the beginning of that of the
    pixels before any change of size."""

    png: bytes
    content: str
    pixels: int
    turned: bool
    opaque: bool


def store(folder: ImageFolder, data_dir: str, config: str) -> None:
    """Write the folder as a prepared tfds data set below `data_dir`, with notes on it.

    Args:
        folder: from `describe`.
        data_dir: a tfds root.
        config: names the content, as a tfds config: the begin of `fingerprint`.

    Raises:
        DataError: images cannot be decoded, all of them counted; or files have changed since they
            were read for the fingerprint.
    """
    import tensorflow_datasets as tfds

    work = _Storing(folder)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=NAME,
        version=VERSION,
        config=config,
        data_dir=data_dir,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=folder.image_shape, encoding_format="png"),
                "label": tfds.features.ClassLabel(names=folder.classes),
                FILENAME: tfds.features.Text(),
            }
        ),
        split_datasets={split: work.examples(split) for split in folder.files},
    )
    work.problems.refuse(work.total)
    if not work.digest.hexdigest().startswith(config):
        raise DataError(f"{folder.root} was changed while it was being prepared; run again")
    notes = Path(data_dir) / NAME / config / VERSION / NOTES
    write_text(notes, dumps(work.notes()) + "\n")


def read_notes(directory: Path) -> list[str]:
    """What decoding found; none where the data are no folder's."""
    file = directory / NOTES
    try:
        return [str(note) for note in json.loads(file.read_text())] if file.is_file() else []
    except ValueError as error:
        raise DataError(f"{file} is damaged: remove {directory} and run again") from error


class _Storing:
    """Decodes the images of a folder one after the other, and remembers what they are like."""

    def __init__(self, folder: ImageFolder) -> None:
        self.folder = folder
        self.total = sum(map(len, folder.files.values()))
        self.problems = Problems(folder.root)
        self.digest = begin_digest(folder)
        self._turned, self._opaque = Unused(), Unused()
        self._pixels = array("Q")
        self._places: list[tuple[str, str]] = []
        self._progress = Progress("preparing", self.total)
        self._done = 0

    def examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What tfds stores of a split. A black image stands for one that cannot be taken, so that
        all of these are found: nothing of it is kept."""
        black = _png(np.zeros(self.folder.image_shape, np.uint8))
        for name, stored in mapped(self._stored, self.folder.files[split]):
            if isinstance(stored, Unusable):
                self.problems.add(name, str(stored))
            else:
                self._remember(split, name, stored)
            image = black if isinstance(stored, Unusable) else stored.png
            yield name, {"image": BytesIO(image), "label": class_of(name), FILENAME: name}
            self._done += 1
            self._progress.update(self._done)

    def notes(self) -> list[str]:
        """What whoever uses the data should know of them."""
        across, labels = self._duplicates()
        found = {
            "images turned as their EXIF orientation says": self._turned,
            "images whose alpha channel, wholly opaque, was left out": self._opaque,
        }
        for (one, other), same in across.items():
            found[f"images in {one} with the pixels of an image in {other}"] = same
        for split, same in labels.items():
            found[f"images in {split} with the pixels of an image of another class"] = same
        return [f"{what}: {images}" for what, images in found.items() if images.count]

    def _stored(self, name: str) -> _Stored | Unusable:
        try:
            data = (self.folder.root / name).read_bytes()
            picture = decode(data)
            shape = picture.pixels.shape
            pixels = self._resized(picture)
        except Unusable as error:
            return error
        except OSError as error:
            return Unusable(f"cannot be read ({error.strerror})")
        known = hashlib.sha256(f"{shape}".encode())
        known.update(np.ascontiguousarray(picture.pixels).data)
        return _Stored(
            png=_png(pixels),
            content=hashlib.sha256(data).hexdigest(),
            pixels=int.from_bytes(known.digest()[:8]),
            turned=picture.turned,
            opaque=picture.opaque,
        )

    def _resized(self, picture: Picture) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        shape, expected = picture.pixels.shape, self.folder.image_shape
        if self.folder.resize and shape[2] == expected[2]:
            from trainer.resizing import resized

            return resized(picture.pixels, self.folder.resize).numpy()
        if shape != expected:
            raise Unusable(
                f"has the shape {shape} (height, width, channels) when it is decoded; expected "
                f"{expected}, as its head said: write it again"
            )
        return picture.pixels

    def _remember(self, split: str, name: str, stored: _Stored) -> None:
        add_to_digest(self.digest, split, name, stored.content)
        self._pixels.append(stored.pixels)
        self._places.append((split, name))
        if stored.turned:
            self._turned.add(name)
        if stored.opaque:
            self._opaque.add(name)

    def _duplicates(self) -> tuple[dict[tuple[str, str], Unused], dict[str, Unused]]:
        """Images with the pixels of another one: by their split and the other's, and by split those
        of another class. Each counts once, and one of train against none but itself."""
        across: dict[tuple[str, str], Unused] = {}
        labels: dict[str, Unused] = {}
        for places in self._alike():
            (home, _), first = places[0], dict[str, str]()
            for split, name in places:
                if split != home:
                    across.setdefault((split, home), Unused()).add(name)
                if class_of(first.setdefault(split, name)) != class_of(name):
                    labels.setdefault(split, Unused()).add(f"{name} as {readable(first[split])}")
        return across, labels

    def _alike(self) -> Iterable[list[tuple[str, str]]]:
        """Split and name of all images whose pixels are those of another one, together; those of
        train first."""
        _, number, count = np.unique(
            np.frombuffer(self._pixels, np.uint64), return_inverse=True, return_counts=True
        )
        groups = defaultdict(list)
        for i in np.flatnonzero(count[number] > 1):
            groups[number[i]].append(self._places[i])
        for places in groups.values():
            places.sort(key=lambda place: place[0] != "train")
        return groups.values()


def _png(pixels: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
