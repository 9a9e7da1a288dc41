"""What the child process of `stock.run` does: it prepares one data set.

Its progress goes out as log records. TFDS may print what it likes.
"""

import contextlib
import inspect
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.datasets.folder.store import store
from components.datasets.stock import Preparation
from foundation.errors import DataError
from foundation.events import Progress

SECONDS_BETWEEN_LOOKS = 0.3

SECONDS_OF_SILENCE = 120.0
"""How long a download may stand still before it has failed; TFDS itself would wait for ever."""


def run(preparation: Preparation) -> None:
    """`prepare`, where whatever TFDS raises is a DataError with all that it says."""
    try:
        prepare(preparation)
    except DataError:
        raise
    except Exception as error:
        silent = f" (no byte for {SECONDS_OF_SILENCE:g} s)" if "timed out" in str(error) else ""
        raise DataError(f"{type(error).__name__}: {error}{silent}") from error


def prepare(preparation: Preparation) -> None:
    """Download (or take from `manual_dir`), verify and prepare with the stock builder; or store a
    folder of images."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    if preparation.images:
        return store(preparation.images, preparation.root, preparation.config)
    builder = tfds.builder(preparation.dataset, data_dir=preparation.root)
    if preparation.examples:
        _count_examples(builder, Progress("preparing", preparation.examples))
    downloads = Path(preparation.root) / "downloads"
    expected = sum(int(info.size) for info in (builder.url_infos or {}).values())
    config = tfds.download.DownloadConfig(
        manual_dir=preparation.manual_dir,
        # Google's bucket holds prepared copies, which bypass the checksums of the archives.
        try_download_gcs=False,
    )
    watched = contextlib.nullcontext() if preparation.manual_dir else _watch(downloads, expected)
    with watched, silence_ends():
        builder.download_and_prepare(download_dir=downloads, download_config=config)


def _count_examples(builder: Any, progress: Progress) -> None:
    """Make the builder report the examples that it generates, over all splits."""
    generate, done = builder._generate_examples, 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        examples = generate(*args, **kwargs)
        # Builders may return a Beam transform instead; that is not ours to iterate.
        return reporting(examples) if inspect.isgenerator(examples) else examples

    def reporting(examples: Iterator[Any]) -> Iterator[Any]:
        nonlocal done
        for example in examples:
            yield example
            done += 1
            progress.update(done)

    builder._generate_examples = counted


@contextlib.contextmanager
def silence_ends() -> Iterator[None]:
    """Give the requests of this process the limit that TFDS gives to none of its own: one that
    waits longer for the next byte raises an error."""
    from requests.adapters import HTTPAdapter

    send, before = HTTPAdapter.send, socket.getdefaulttimeout()

    def limited(self: HTTPAdapter, request: Any, **options: Any) -> Any:
        return send(self, request, **options | {"timeout": SECONDS_OF_SILENCE})

    HTTPAdapter.send = limited  # type: ignore[assignment, method-assign]
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)  # for ftp
    try:
        yield
    finally:
        HTTPAdapter.send = send  # type: ignore[method-assign]
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _watch(folder: Path, total: int) -> Iterator[None]:
    """Report how many bytes of the `total` lie in `folder`, until all of them do or we leave."""
    finished, progress = threading.Event(), Progress("downloading", total)

    def look() -> None:
        size = 0
        while size < total and not finished.wait(SECONDS_BETWEEN_LOOKS):
            size = _archive_bytes(folder)
            progress.update(size)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _archive_bytes(folder: Path) -> int:
    """Bytes of downloaded files; unpacked ones do not count, files that vanish do not matter."""
    size = 0
    for directory, _, names in os.walk(folder):
        if "extracted" in Path(directory).parts:
            continue
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += (Path(directory) / name).stat().st_size
    return size
