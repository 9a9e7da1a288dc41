"""What `gauntlet clean` removes of a root: what nothing refers to that is served, blessed or kept.

Artifacts are marked as deleted in the metadata first, so that TFX's cache does not hand them out,
and removed then. Their folders are known by their places, not by that mark: what a kill left over
goes at the next clean. No link is followed, and what is not known by its name and place stays.
"""

import contextlib
import datetime
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from components.changes import now, whoami
from components.journal import Entry, append
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.versions import left_over
from pipeline.root.blessings import put
from pipeline.root.keeping import (
    RESULTS,
    Keep,
    Kept,
    Time,
    is_folder,
    kept,
    run_folders,
    statuses,
    written_at,
)
from pipeline.root.root import CONFIG, EXAMPLES, LOG, SUMMARY, Root

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as mlmd

log = logging.getLogger("gauntlet.clean")

SMALL = (SUMMARY, CONFIG, EXAMPLES, "schema.pbtxt")
"""Of the results of a run that is not kept, what stays where it came to a summary."""

VERDICTS = re.compile(r"batch-\d+-\d+\.npz")
"""Of an evaluation, what is removed: attacked images, which the same command makes again."""

PARTIAL = re.compile(r"\..+\.[0-9a-f]{32}\.partial(\..+)?")
"""What a killed process left of a file that it was writing."""

KNOWN = re.compile(r"\..*|metadata\.sqlite.*|artifacts|results|serving|spans|evaluations|log\.txt")
"""Names in a root."""

QUIET = datetime.timedelta(hours=1)
"""What was written since then may be in use by a command that does not lock the root, such as an
evaluation."""

LOGS, OLD_LOG = "gauntlet-log-*", datetime.timedelta(days=1)
"""Folders that commands which failed have left among the temporary files, with a log that their
message names, and how long there is time to read it."""

LOG_BYTES = 2**20
"""How much stays of the end of a log to which commands append."""


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What to clean. dry_run: whether to look only."""

    root: Root
    keep: Keep = field(default_factory=Keep)
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOver:
    """A file or folder that goes. what: its kind, in the plural. size: bytes on the disk. cut:
    whether its end stays."""

    what: str
    path: Path
    size: int
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was found, and removed unless it was a dry run.

    runs: those that are kept with all that they used and made. marked: number of artifacts that
    are no longer in TFX's cache. unknown: files and folders that are none of ours, and stay.
    """

    runs: tuple[str, ...]
    removed: tuple[LeftOver, ...]
    marked: int
    unknown: tuple[Path, ...]
    dry_run: bool

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(each.size for each in self.removed)


def clean(task: Cleaning) -> Cleaned:
    """Find what goes, and remove it.

    Raises:
        ConfigError: it is no root of a pipeline. RunError: a run is under way, or something cannot
            be removed; the same call again completes it.
    """
    root = task.root
    check_is_root(root)
    with phase("clean"), root.locked(f"a run is under way in {root}"):
        if not root.has_metadata:
            return _cleaned(task, None)
        with root.metadata() as store:
            return _cleaned(task, store)


def check_is_root(root: Root) -> None:
    """Raises ConfigError for a folder in which neither a run nor an evaluation was."""
    if not root.has_metadata and not root.evaluations.is_dir():
        raise ConfigError(
            f"{root} is no root of a pipeline: it has neither metadata nor evaluations; name "
            "another with --root"
        )


def _cleaned(task: Cleaning, store: "MetadataStore | None") -> Cleaned:
    stay = kept(task.root, store, task.keep)
    finder = Finder(task.root, store, task.keep, stay)
    gone = _unreferenced(task.root, store, stay) if store else []
    cleaned = Cleaned(
        runs=tuple(sorted(stay.runs)),
        removed=tuple(finder.left_over()),
        marked=len(gone),
        unknown=tuple(sorted(finder.unknown)),
        dry_run=task.dry_run,
    )
    if not task.dry_run:
        # What needs no change of the metadata first: a disk that is full has no room for one.
        first = [each for each in cleaned.removed if each.what != ARTIFACTS]
        failed = [*_removed(first)]
        if store:
            _mark(task, store, gone, stay)
        failed += _removed([each for each in cleaned.removed if each.what == ARTIFACTS])
        if store and cleaned.removed:
            _note(task.root, cleaned, len(failed))
        if failed:
            raise RunError("this could not be removed: " + "; ".join(failed))
    return cleaned


def _unreferenced(root: Root, store: "MetadataStore", stay: Kept) -> list["mlmd.Artifact"]:
    """Artifacts in the root that are not kept and not marked yet."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    return [
        artifact
        for artifact in store.get_artifacts()
        if artifact.id not in stay.artifacts
        and artifact.state != mlmd.Artifact.DELETED
        and Path(artifact.uri).resolve().is_relative_to(root.artifacts.resolve())
    ]


def _note(root: Root, cleaned: Cleaned, failed: int) -> None:
    """Add what was removed to the journal, now that there is room on the disk."""
    numbers = Counter(each.what for each in cleaned.removed)
    removed = ", ".join(f"{number} {what}" for what, number in numbers.items())
    reason = f"removed {removed}; {cleaned.size / 2**20:,.1f} MB"
    if failed:
        reason += f"; {failed} could not be removed"
    try:
        with root.serving_lock():
            append(str(root.serving), Entry(what="clean", by=whoami(), at=now(), reason=reason))
    except OSError as error:
        log.warning("not noted in the journal: %s", error)


def _mark(task: Cleaning, store: "MetadataStore", gone: list["mlmd.Artifact"], stay: Kept) -> None:
    """Take artifacts out of TFX's cache, and end what killed runs left unfinished.

    Versions and blessings are locked for this alone, since to remove takes minutes.

    Raises:
        RunError: something must stay by now that was to be removed.
    """
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    from pipeline.root.metadata import mend

    for artifact in gone:
        artifact.state = mlmd.Artifact.DELETED
    if gone:
        with task.root.serving_lock():
            if not kept(task.root, store, task.keep).artifacts <= stay.artifacts:
                raise RunError(
                    "somebody pushed or blessed a model meanwhile; the same call completes this"
                )
            put(store, gone)
    mend(store, str(task.root.artifacts))


def _removed(found: list[LeftOver]) -> Iterator[str]:
    """Remove; gives what could not be."""
    for each in found:
        try:
            _remove(each)
        except OSError as error:
            yield f"{each.path}: {error.strerror or error}"
        log.info("removed %s", each.path)


def _remove(each: LeftOver) -> None:
    path = each.path
    if each.cut:
        _cut(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _cut(path: Path) -> None:
    """Leave the end of a log in place, where its writers append to it."""
    with path.open("r+b") as file:
        file.seek(-LOG_BYTES, os.SEEK_END)
        end = file.read()
        file.seek(0)
        file.write(end)
        file.truncate()


ARTIFACTS = "artifacts"


class Finder:
    """Looks through the places of a root. unknown: what it met there that is none of ours."""

    def __init__(self, root: Root, store: "MetadataStore | None", keep: Keep, stay: Kept) -> None:
        self._root, self._keep, self._stay = root, keep, stay
        self._executions = {str(each.id) for each in store.get_executions()} if store else set()
        self._places = {place for uri in stay.uris for place in _triples(Path(uri).parts)}
        self._now = datetime.datetime.now(datetime.UTC)
        self.unknown: list[Path] = []

    def left_over(self) -> Iterator[LeftOver]:
        """All that goes."""
        self.unknown += [path for path in _in(self._root.folder) if not KNOWN.fullmatch(path.name)]
        places: dict[str, Callable[[], Iterator[Path]]] = {
            ARTIFACTS: self._artifacts,
            "working folders of nodes": self._working_folders,
            "checkpoints": self._checkpoints,
            "results": self._results,
            "verdicts of evaluations": self._verdicts,
            "unfinished pushes": self._staging,
            "unfinished files": self._partials,
            "logs of failed commands": self._logs,
        }
        for what, paths in places.items():
            for path in paths():
                yield LeftOver(what=what, path=path, size=size_of(path))
        for path in (self._root.log, self._root.evaluations / LOG):
            if path.is_file() and (size := path.stat().st_size) > LOG_BYTES:
                yield LeftOver(what="logs", path=path, size=size - LOG_BYTES, cut=True)

    def _artifacts(self) -> Iterator[Path]:
        """The folders NODE/OUTPUT/EXECUTION of executions that the metadata knows, except those
        with artifacts that stay. Where the root has been moved, the metadata has other paths, which
        end alike."""
        for node in self._nodes():
            for output in _in(node):
                if output.name == ".system":
                    continue
                for folder in _in(output):
                    if folder.name not in self._executions:
                        self.unknown.append(folder)
                    elif folder.parts[-3:] not in self._places:
                        yield folder

    def _nodes(self) -> Iterator[Path]:
        """The folders of nodes among the artifacts."""
        for path in _in(self._root.artifacts):
            if path.is_symlink() or not path.is_dir():
                self.unknown.append(path)
            elif not path.name.startswith("."):
                yield path

    def _working_folders(self) -> Iterator[Path]:
        """What TFX keeps while a node runs; none does now."""
        for node in _in(self._root.artifacts):
            for kind in _in(node / ".system"):
                yield from (path for path in _in(kind) if any(_in(path)) or path.is_file())

    def _checkpoints(self) -> Iterator[Path]:
        """Of trainings that were killed before the oldest run that is kept."""
        for path in _in(self._root.artifacts / ".checkpoints"):
            if self._stay.since is None or written_at(path) < self._stay.since:
                yield path

    def _results(self) -> Iterator[Path]:
        """Of runs that are not kept and have pushed nothing: pictures and logs, and all of those
        that came to no summary."""
        ours = run_folders(self._root)
        self.unknown += [path for path in _in(self._root.results("")) if path not in ours]
        for folder in ours:
            others = [path for path in _in(folder) if not self._is_result(path)]
            self.unknown += others
            if folder.name in self._stay.runs | self._stay.pushed:
                continue
            if not (folder / SUMMARY).exists() and not others:
                yield folder
            else:
                yield from (path for path in _in(folder) if self._goes(path))

    def _is_result(self, path: Path) -> bool:
        return bool(RESULTS.fullmatch(path.name) or PARTIAL.fullmatch(path.name))

    def _goes(self, path: Path) -> bool:
        return bool(RESULTS.fullmatch(path.name)) and path.name not in SMALL

    def _verdicts(self) -> Iterator[Path]:
        """Of the evaluations of a model that are not kept: attacked images, which the same command
        makes again. Results and curves stay."""
        folders = [path for path in _in(self._root.evaluations) if is_folder(path)]
        times: dict[str, Time] = {path.name: written_at(path) for path in folders}
        stay = self._keep.of(times)
        for folder in folders:
            if folder.name not in stay and self._is_quiet(folder):
                yield from (
                    path for each in _in(folder) for path in _in(each)
                    if VERDICTS.fullmatch(path.name)
                )  # fmt: skip

    def _staging(self) -> Iterator[Path]:
        """What is there while nobody pushes was left by somebody who was killed, and so it stays
        when the lock is free again."""
        if not is_folder(self._root.serving):
            return iter(())
        with self._root.serving_lock():
            return iter(left_over(str(self._root.serving)))

    def _partials(self) -> Iterator[Path]:
        """In the folders of results and evaluations."""
        results, evaluations = self._root.results(""), self._root.evaluations
        folders = [*_in(results), evaluations, *_in(evaluations)]
        for folder in [*folders, *(path for each in _in(evaluations) for path in _in(each))]:
            for path in _in(folder):
                if PARTIAL.fullmatch(path.name) and self._is_quiet(path):
                    yield path

    def _logs(self) -> Iterator[Path]:
        """Of this user, outside of the root."""
        for path in sorted(Path(tempfile.gettempdir()).glob(LOGS)):
            with contextlib.suppress(FileNotFoundError):
                ours = is_folder(path) and path.stat().st_uid == os.getuid()
                if ours and self._now - written_at(path) > OLD_LOG:
                    yield path

    def _is_quiet(self, path: Path) -> bool:
        return self._now - written_at(path) > QUIET


def _in(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing where it is a link or no folder."""
    return sorted(folder.iterdir()) if is_folder(folder) else []


def _triples(parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return zip(parts, parts[1:], parts[2:], strict=False)


def size_of(path: Path) -> int:
    """Bytes on the disk, as `du` counts them."""
    return sum(status.st_blocks * 512 for status in statuses(path))
