"""Small folders of images, as people bring them."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHAPE = (6, 5, 3)


def pixels(seed: int | str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Noise, uint8."""
    seed = zlib.crc32(seed.encode()) if isinstance(seed, str) else seed
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_image(
    path: Path,
    seed: int | str,
    mode: str = "RGB",
    shape: tuple[int, ...] = SHAPE,
    format: str | None = None,
    **options: Any,
) -> np.ndarray:
    """Write noise in that mode of Pillow; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = pixels(seed, shape[:2] if mode == "L" else (*shape[:2], len(mode)))
    Image.fromarray(drawn).save(path, format, **options)
    return drawn


def write_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), **counts: int) -> Path:
    """SPLIT/CLASS/N.png for each split with its count: 3 of train and 2 of test by default."""
    for split, count in (counts or {"train": 3, "test": 2}).items():
        for label in classes:
            for i in range(count):
                write_image(root / split / label / f"{i}.png", f"{split} {label} {i}")
    return root
