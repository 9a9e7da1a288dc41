"""The child process of `stock.run`: prepares one data set and reports on stdout, one JSON a line.

`{"stage": "preparing", "progress": [done, total]}` while it works, `{"failed": "reason"}` at the
end if it fails. Everything else that TFDS and TensorFlow print goes to stderr.
"""

import contextlib
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.datasets import image_folder
from components.datasets.stock import Job
from foundation.errors import DataError
from foundation.process import end_with_parent

Emit = Callable[[dict[str, Any]], None]

EXAMPLES_PER_EVENT = 500
SECONDS_BETWEEN_LOOKS = 0.3


def main(job: Job) -> int:
    """Run `job`; returns the exit code. Takes over the process's stdout."""
    events, lock = os.fdopen(os.dup(1), "w"), threading.Lock()
    os.dup2(2, 1)  # what TFDS prints, in Python or in C, must not mix with the events

    def emit(event: dict[str, Any]) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")
            events.flush()

    try:
        prepare(job, emit)
    except Exception as error:  # the process boundary: the parent raises it as a DataError
        traceback.print_exc()
        emit(
            {
                "failed": str(error)
                if isinstance(error, DataError)
                else f"{type(error).__name__}: {error}"
            }
        )
        return 1
    return 0


def prepare(job: Job, emit: Emit) -> None:
    """Download (or take from `manual_dir`), verify and prepare with the stock builder; or store a
    folder of images."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    if image_folder.is_folder(job.dataset):
        return _store_folder(job, emit)
    builder = tfds.builder(job.dataset, data_dir=job.root)
    if job.examples:
        _count_examples(builder, job.examples, emit)
    downloads = Path(job.root) / "downloads"
    expected = sum(int(info.size) for info in (builder.url_infos or {}).values())
    config = tfds.download.DownloadConfig(
        manual_dir=job.manual_dir,
        # Google's bucket holds prepared copies, which bypass the checksums of the archives.
        try_download_gcs=False,
    )
    watched = contextlib.nullcontext() if job.manual_dir else _watch(downloads, expected, emit)
    with watched:
        builder.download_and_prepare(download_dir=downloads, download_config=config)


def _store_folder(job: Job, emit: Emit) -> None:
    def report(done: int, total: int) -> None:
        if done % EXAMPLES_PER_EVENT == 0 or done == total:
            emit({"stage": "preparing", "progress": [done, total]})

    image_folder.store(image_folder.describe(job.dataset), job.root, job.config, report)


def _count_examples(builder: Any, total: int, emit: Emit) -> None:
    """Make the builder report every few examples that it generates, over all splits."""
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
            if done % EXAMPLES_PER_EVENT == 0 or done == total:
                emit({"stage": "preparing", "progress": [done, total]})

    builder._generate_examples = counted


@contextlib.contextmanager
def _watch(folder: Path, total: int, emit: Emit) -> Iterator[None]:
    """Report how many bytes of the `total` lie in `folder`, until all of them do or we leave."""
    finished = threading.Event()

    def look() -> None:
        size = 0
        while size < total and not finished.wait(SECONDS_BETWEEN_LOOKS):
            size = _archive_bytes(folder)
            emit({"stage": "downloading", "progress": [min(size, total), total]})

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


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Job(**json.loads(sys.argv[1]))))
