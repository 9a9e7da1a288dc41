"""What of a root stays: the runs that are kept, and the artifacts to which they or a model in
production refer."""

import contextlib
import datetime
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.versions import Card, list_versions
from pipeline.root.blessings import model_of, was_blessed
from pipeline.root.root import CONFIG, EXAMPLES, IMAGES, LOG, SUMMARY, Root

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as mlmd

Time = datetime.datetime

NAMES = (SUMMARY, CONFIG, EXAMPLES, IMAGES, LOG, "schema.pbtxt")
RESULTS = re.compile(
    "|".join(map(re.escape, NAMES)) + r"|(attacked|training|front|gate-[a-z_]+)\.png"
)
"""Files that a run may leave in its folder of results, and `gauntlet show` after it."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The newest `number` of each kind, and whatever is younger than `older_than`."""

    number: int = 3
    older_than: datetime.timedelta | None = None

    def of(self, times: dict[str, Time]) -> set[str]:
        """The names that stay. times: by name, when each began or was written."""
        newest = sorted(times, key=lambda name: (times[name], name))[-self.number :]
        if self.older_than is None:
            return {*newest}
        limit = datetime.datetime.now(datetime.UTC) - self.older_than
        return {*newest, *(name for name, time in times.items() if time >= limit)}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What stays.

    runs: names of the runs that are kept with all that they used and made. since: when the oldest
    of them began; None where there is none. pushed: runs that pushed a version that is there.
    artifacts: ids; uris: where these lie.
    """

    runs: frozenset[str] = frozenset()
    since: Time | None = None
    pushed: frozenset[str] = frozenset()
    artifacts: frozenset[int] = frozenset()
    uris: frozenset[str] = frozenset()


def kept(root: Root, store: "MetadataStore | None", keep: Keep) -> Kept:
    """What stays of a root. store: its metadata; None where it has none.

    Of the runs the newest ones stay, and the newest of those that came to a summary: runs that
    failed, one after another, do not push out what the last good one made.
    """
    times = dict(run_times(root, store))
    complete = {run: time for run, time in times.items() if (root.results(run) / SUMMARY).exists()}
    runs = keep.of(times) | keep.of(complete)
    cards = [version.card for version in list_versions(str(root.serving))]
    stay = list(_artifacts(store, runs, cards)) if store else []
    return Kept(
        runs=frozenset(runs),
        since=min((times[run] for run in runs), default=None),
        pushed=frozenset(card.run_id for card in cards if card.run_id),
        artifacts=frozenset(artifact.id for artifact in stay),
        uris=frozenset(artifact.uri for artifact in stay),
    )


def run_times(root: Root, store: "MetadataStore | None") -> Iterator[tuple[str, Time]]:
    """When each run began; of one that did not come as far as its metadata, when its folder was
    written last."""
    for folder in run_folders(root):
        yield folder.name, written_at(folder)
    for context in store.get_contexts_by_type("pipeline_run") if store else ():
        yield context.name, _time(context.create_time_since_epoch / 1000)


def run_folders(root: Root) -> list[Path]:
    """The folders of results of runs; what else lies there is somebody else's."""
    folders = [path for path in sorted(root.results("").glob("*")) if is_folder(path)]
    return [path for path in folders if any(RESULTS.fullmatch(name) for name in os.listdir(path))]


def written_at(path: Path) -> Time:
    """When a file was written last, or anything in a folder."""
    return _time(max((status.st_mtime for status in statuses(path)), default=0.0))


def statuses(path: Path) -> Iterator[os.stat_result]:
    """Of a file or link, or of a folder and all in it; no link is followed, and what vanishes
    meanwhile is passed over."""
    inside = os.walk(path) if is_folder(path) else ()
    paths = [Path(parent, name) for parent, folders, names in inside for name in folders + names]
    for each in [path, *paths]:
        with contextlib.suppress(FileNotFoundError):
            yield each.lstat()


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _time(seconds: float) -> Time:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _artifacts(
    store: "MetadataStore", runs: Iterable[str], cards: list[Card]
) -> Iterator["mlmd.Artifact"]:
    """What the runs took and made, and the models in production with their blessings: those that
    are or were served, or that a rollback has withdrawn. What was marked as deleted is not there
    any more."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    from pipeline.root.metadata import ACCEPTED

    of_runs = set(_events_of(store, runs))
    blessings = store.get_artifacts_by_type("ModelBlessing")
    models = {model_of(blessing) for blessing in blessings if was_blessed(blessing)}
    models |= {card.model_id for card in cards}
    addresses = {card.model for card in cards} - {""}
    copied_later = {each.id for each in store.get_artifacts_by_type(ACCEPTED)}  # see `keep_spans`
    of_models = {blessing.id for blessing in blessings if model_of(blessing) in models}
    stay = of_runs | models | of_models | copied_later
    for artifact in store.get_artifacts():
        if artifact.state == mlmd.Artifact.DELETED:
            continue
        if artifact.id in stay or artifact.uri in addresses:
            yield artifact


def _events_of(store: "MetadataStore", runs: Iterable[str]) -> Iterator[int]:
    """Ids of all artifacts that the nodes of runs read, wrote or took from the cache; a node that
    was killed has none."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    from pipeline.root.metadata import UNFINISHED

    for run in runs:
        context = store.get_context_by_type_and_name("pipeline_run", run)
        executions = store.get_executions_by_context(context.id) if context else []
        ids = [each.id for each in executions if each.last_known_state not in UNFINISHED]
        for event in store.get_events_by_execution_ids(ids) if ids else ():
            if event.type != mlmd.Event.PENDING_OUTPUT:
                yield event.artifact_id
