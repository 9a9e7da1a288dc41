"""The root of a pipeline: the folder of all that runs on this machine leave, and its layout.

Nobody else spells a name in that folder. Read without TFX, which is imported when the metadata is
opened.
"""

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import ConfigError, RunError
from foundation.locks import LOCK, held_since, lock, serving_lock
from foundation.rights import give

if TYPE_CHECKING:
    import datetime

    from ml_metadata.metadata_store.metadata_store import MetadataStore

LOG = "log.txt"
CONFIG, SUMMARY = "config.json", "summary.json"
EXAMPLES, IMAGES = "examples.csv", "images.npz"
"""Names among a run's results: its configuration, its summary, what was found of each test image,
and the images that the gates name."""

PATIENCE = 10.0
"""Seconds that another process may hold the file of the metadata."""

log = logging.getLogger("gauntlet.root")


@dataclass(frozen=True)
class Root:
    """A root, whether a run has been there or not.

    folder: absolute path.
    """

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def serving(self) -> Path:
        """Pushed versions, as TensorFlow Serving takes them."""
        return self.folder / "serving"

    @property
    def spans(self) -> Path:
        """Statistics of the spans of data that were accepted, as AnomalyGate keeps them."""
        return self.folder / "spans"

    @property
    def artifacts(self) -> Path:
        """What the nodes wrote, as TFX lays it out."""
        return self.folder / "artifacts"

    @property
    def evaluations(self) -> Path:
        """Reports of models that were evaluated on their own."""
        return self.folder / "evaluations"

    @property
    def log(self) -> Path:
        """Log of all commands that are no run."""
        return self.folder / LOG

    def results(self, run_id: str) -> Path:
        """Results of one run."""
        return self.folder / "results" / run_id

    def run_log(self, run_id: str) -> Path:
        """Log of one run."""
        return self.results(run_id) / LOG

    @property
    def has_metadata(self) -> bool:
        """Whether a run has been here."""
        return self._metadata.exists()

    @property
    def connection(self) -> Any:
        """TFX's configuration of a connection to the metadata."""
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        return sqlite_metadata_connection_config(str(self._metadata))

    @contextmanager
    def metadata(self) -> Iterator["MetadataStore"]:
        """The metadata store, which is created where there is none.

        Raises:
            RunError: another process holds its file, or it is damaged or cannot be written.
        """
        self.check_metadata()
        from tfx.orchestration.metadata import Metadata

        is_new = not self._metadata.exists()
        with Metadata(self.connection) as connected:
            self._share_metadata(is_new)
            yield connected.store

    @contextmanager
    def locked(self, what: str, advice: str = "wait for it, or end it") -> Iterator[None]:
        """Nobody else works on this root meanwhile.

        Args:
            what: sentence on somebody else who does.
            advice: what a user may do then.

        Raises:
            RunError: somebody else does; with both, and who it is.
        """
        with lock(self.folder / LOCK, what, advice=advice):
            yield

    @property
    def held_since(self) -> "datetime.datetime | None":
        """Since when somebody works on this root; None where nobody does."""
        return held_since(self.folder / LOCK)

    @contextmanager
    def serving_lock(self) -> Iterator[None]:
        """Nobody else changes versions or blessings meanwhile. A run takes it for the moment of its
        push; see `foundation.locks`."""
        with serving_lock(str(self.serving)):
            yield

    @contextmanager
    def under_change(self) -> Iterator["MetadataStore"]:
        """The metadata of a root that has seen a run, for a change of versions and blessings by
        hand, also while a run is under way. Only the change itself needs `serving_lock`.

        Raises:
            ConfigError: it is no root of a pipeline. RunError: somebody else holds the metadata.
        """
        if not self._metadata.exists():
            raise ConfigError(
                f"{self} is no root of a pipeline: it has no {self._metadata.name}; name another "
                "with --root"
            )
        with self.metadata() as store:
            yield store

    @contextmanager
    def known(self) -> Iterator["MetadataStore | None"]:
        """The metadata, to read only, which a user may do who cannot write; None where there is
        none.

        Raises:
            RunError: it cannot be read.
        """
        if not self._metadata.exists():
            yield None
            return
        from ml_metadata.errors import StatusError
        from ml_metadata.metadata_store.metadata_store import MetadataStore
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(self._metadata)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
        try:
            store = MetadataStore(config)
        except (StatusError, RuntimeError) as error:
            reason = str(error).partition(":")[0]
            raise RunError(f"{self._metadata} cannot be read: {reason}") from error
        yield store

    def share(self) -> None:
        """What this process and its children make from now on is for the group of the root too,
        where its folder can be written by one, whatever the umask."""
        if self._is_shared:
            os.umask(os.umask(0o077) & ~0o070)

    def link_data(self, directory: str) -> str:
        """Link prepared data into the root, under one name wherever the data lies.

        TFX's cache sees the path as a parameter of TfdsExampleGen; what lies there it knows by the
        fingerprint. Call it only while no other run is under way on this root.

        Returns:
            The path of the link; `directory` itself on a disk without links.
        """
        link = self._data
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(directory)
        except OSError as error:
            log.info(
                "cannot link %s (%s): the same data elsewhere will be read again",
                link,
                error.strerror,
            )
            return directory
        return str(link)

    def linked_data(self, directory: str) -> str:
        """What `link_data` will return, as far as an earlier run shows. Writes nothing."""
        return str(self._data) if self._data.is_symlink() else directory

    def copied_metadata(self, copy: Path) -> Any:
        """The configuration of a connection to a copy of the metadata; of an empty one where there
        is none.

        Raises:
            RunError: they cannot be read.
        """
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        if self.has_metadata:
            address = f"{self._metadata.as_uri()}?mode=ro"
            try:
                with (
                    contextlib.closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as own,
                    contextlib.closing(sqlite3.connect(copy)) as other,
                ):
                    own.backup(other)
            except sqlite3.DatabaseError as error:
                raise RunError(f"{self._metadata} cannot be read: {error}") from error
        return sqlite_metadata_connection_config(str(copy))

    def check_metadata(self) -> None:
        """Raises RunError unless the metadata can be written. ML Metadata itself would try for five
        minutes, and then say no more than that it has."""
        if not (file := self._metadata).exists():
            return
        try:
            opened = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
            with contextlib.closing(opened) as database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise RunError(
                    f"another process holds {file}: another run, or a program that looks into it; "
                    "end that, and try again"
                ) from error
            raise RunError(
                f"{file} cannot be used: {error}; mend it or its rights, or name another root with "
                "--root"
            ) from error

    def _share_metadata(self, is_new: bool) -> None:
        """SQLite lets nobody else write a file that it makes; whoever may read the root may read a
        new one, whatever the umask."""
        mode = stat.S_IMODE(self._metadata.stat().st_mode)
        wanted = mode | (0o060 if self._is_shared else 0)
        if is_new:
            wanted |= self.folder.stat().st_mode & 0o044
        if wanted != mode:
            give(self._metadata, wanted)  # unless the file is another user's

    @property
    def _is_shared(self) -> bool:
        return bool(self.folder.stat().st_mode & stat.S_IWGRP)

    @property
    def _data(self) -> Path:
        return self.folder / ".data"

    @property
    def _metadata(self) -> Path:
        return self.folder / "metadata.sqlite"
