"""The steps by which a process changes a folder and the metadata, and an end at one of them.

The lowest calls that Python code has are wrapped: of `os`, `open`, TFX's file system (whose work is
done in C++), and of the metadata store. Each is one step. The process can end before a step, or in
the middle of one that writes: half of the bytes are there then. What sqlite does within one call of
the store is its own business, and atomic.
"""

import builtins
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from disk import Disk
from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem

KILLED = 137
"""Exit code of a process that ended at a step."""

ONE_PATH = ("mkdir", "rmdir", "unlink", "remove", "truncate", "chmod", "utime")
TWO_PATHS = ("rename", "replace", "link", "symlink")
BY_DESCRIPTOR = ("fsync", "fdatasync", "ftruncate", "fchmod")
STORED = (
    "put_artifacts", "put_executions", "put_execution", "put_events", "put_contexts",
    "put_attributions_and_associations", "put_parent_contexts",
)  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass
class Steps:
    """Counts the steps under a folder, and ends the process at one of them.

    folder: only what is under it counts. stop: number of the step that is not done any more; 0 for
    none. torn: whether half of that step is done, where it writes. disk: what a power cut leaves.
    """

    folder: Path
    stop: int = 0
    torn: bool = False
    disk: Disk | None = None
    at_end: Callable[[], None] = lambda: None
    done: list[str] = field(default_factory=list)

    def begin(self, name: str, path: str, half: Callable[[], object] | None = None) -> None:
        """A step is about to be done. half: does one half of it."""
        if not path.startswith(str(self.folder)):
            return
        if self.disk:
            self.disk.observe()
        self.done.append(f"{name} {path.removeprefix(str(self.folder))}")
        if len(self.done) != self.stop:
            return
        if self.torn and half:
            half()
        self.at_end()
        os._exit(KILLED)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count while the context is open."""
        patches = [*self._of_os(), *self._of_tfx(), *self._of_metadata()]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def _of_os(self) -> Iterator[Any]:
        for name in ONE_PATH:
            yield mock.patch.object(os, name, self._on_path(name, getattr(os, name)))
        for name in TWO_PATHS:
            yield mock.patch.object(os, name, self._on_target(name, getattr(os, name)))
        for name in BY_DESCRIPTOR:
            yield mock.patch.object(os, name, self._on_descriptor(name, getattr(os, name)))
        yield mock.patch.object(fcntl, "flock", self._on_descriptor("flock", fcntl.flock))
        yield mock.patch.object(os, "open", self._os_open(os.open))
        yield mock.patch.object(os, "write", self._os_write(os.write))
        yield mock.patch.object(os, "sendfile", self._sendfile(os.sendfile))
        opened = self._open(io.open)
        yield mock.patch.object(io, "open", opened)
        yield mock.patch.object(builtins, "open", opened)

    def _of_tfx(self) -> Iterator[Any]:
        for name in ("makedirs", "mkdir", "remove", "rmtree"):
            yield self._tfx(name, lambda call, name: self._on_path(f"tf {name}", call))
        yield self._tfx("rename", lambda call, name: self._on_target(f"tf {name}", call))
        yield self._tfx("copy", lambda call, _: self._tf_copy(call))
        yield self._tfx("open", lambda call, _: self._open(call, "tf "))

    def _of_metadata(self) -> Iterator[Any]:
        for name in STORED:
            if hasattr(MetadataStore, name):
                yield mock.patch.object(
                    MetadataStore, name, self._stored(name, getattr(MetadataStore, name))
                )

    def _tfx(self, name: str, wrap: Callable[[Any, str], Any]) -> Any:
        wrapped = staticmethod(wrap(getattr(TensorflowFilesystem, name), name))
        return mock.patch.object(TensorflowFilesystem, name, wrapped)

    def _on_path(self, name: str, call: Any) -> Any:
        def wrapped(path: Any, *args: Any, **more: Any) -> Any:
            self.begin(name, placed(path, more.get("dir_fd")))
            return call(path, *args, **more)

        return wrapped

    def _on_target(self, name: str, call: Any) -> Any:
        def wrapped(source: Any, target: Any, *args: Any, **more: Any) -> Any:
            self.begin(name, placed(target, more.get("dst_dir_fd", more.get("dir_fd"))))
            return call(source, target, *args, **more)

        return wrapped

    def _on_descriptor(self, name: str, call: Any) -> Any:
        def wrapped(descriptor: Any, *args: Any) -> Any:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = path_of(number)
            self.begin(name, path)
            answer = call(descriptor, *args)
            if self.disk and name in ("fsync", "fdatasync") and path.startswith(str(self.folder)):
                self.disk.synced(number)
            return answer

        return wrapped

    def _os_open(self, call: Any) -> Any:
        def wrapped(path: Any, flags: int, *args: Any, **more: Any) -> Any:
            if flags & WRITES:
                self.begin("open", placed(path, more.get("dir_fd")))
            return call(path, flags, *args, **more)

        return wrapped

    def _os_write(self, call: Any) -> Any:
        def wrapped(descriptor: int, content: Any) -> Any:
            half = bytes(content)[: len(content) // 2]
            self.begin("write", path_of(descriptor), lambda: call(descriptor, half))
            return call(descriptor, content)

        return wrapped

    def _sendfile(self, call: Any) -> Any:
        def wrapped(target: int, source: int, offset: Any, count: int) -> Any:
            size = min(count, os.fstat(source).st_size)
            half = size // 2
            self.begin("copy", path_of(target), lambda: call(target, source, offset, half))
            return call(target, source, offset, count)

        return wrapped

    def _open(self, call: Any, prefix: str = "") -> Any:
        def wrapped(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            if isinstance(path, int) or not set(mode) & set("wax+"):
                return call(path, mode, *args, **more)
            place = placed(path, None)
            self.begin(f"{prefix}open", place)
            return Written(call(path, mode, *args, **more), self, prefix, place)

        return wrapped

    def _tf_copy(self, call: Any) -> Any:
        def wrapped(source: str, target: str, overwrite: bool = False) -> Any:
            def half() -> None:
                content = Path(source).read_bytes()
                with mock.patch.object(io, "open", untouched):
                    Path(target).write_bytes(content[: len(content) // 2])

            self.begin("tf copy", str(target), half)
            return call(source, target, overwrite)

        return wrapped

    def _stored(self, name: str, call: Any) -> Any:
        def wrapped(store: Any, *args: Any, **more: Any) -> Any:
            self.begin(f"metadata {name}", f"{self.folder}/metadata")
            return call(store, *args, **more)

        return wrapped


untouched = io.open


class Written:
    """A file that is being written: what it is given, and its closing, are steps."""

    def __init__(self, file: Any, steps: Steps, prefix: str, place: str) -> None:
        self._file, self._steps, self._prefix, self._place = file, steps, prefix, place

    def write(self, content: Any) -> Any:
        """Half of it reaches the file system where the process ends here."""

        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._steps.begin(f"{self._prefix}write", self._place, half)
        return self._file.write(content)

    def __enter__(self) -> "Written":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        self._steps.begin(f"{self._prefix}close", self._place)
        return self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def placed(path: Any, descriptor: int | None) -> str:
    """The absolute path of what a call names, perhaps relative to an open folder."""
    text = os.fsdecode(path) if not isinstance(path, int) else path_of(path)
    return os.path.join(path_of(descriptor), text) if descriptor is not None else text


def path_of(descriptor: int) -> str:
    """Where an open file lies; '' where the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""
