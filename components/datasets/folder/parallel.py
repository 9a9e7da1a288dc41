"""A function over many files, in threads, in order, and with few of them in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(4, os.cpu_count() or 1)
WINDOW = 64
"""So many results wait at most."""


def mapped(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, R]]:
    """Each item with what the function returns for it."""
    with ThreadPoolExecutor(THREADS) as pool:
        for begin in range(0, len(items), WINDOW):
            window = items[begin : begin + WINDOW]
            yield from zip(window, pool.map(function, window), strict=True)
