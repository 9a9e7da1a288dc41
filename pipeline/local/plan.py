"""What a run would do, without doing it: what `gauntlet run --dry-run` does underneath.

Nothing is computed, pushed or written into the root: TFX gets a copy of the metadata and a folder
of its own. Where the run would end before anything is computed, this ends with the same error. Read
without TFX.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.binding import agree
from components.datasets.prepare import found
from components.datasets.prepared import PreparedDataset
from components.versions import Version, newest
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.json import Document
from foundation.locks import reading
from foundation.versions import numbers
from pipeline.definition.config import RunConfig
from pipeline.definition.terms import terms_of
from pipeline.local.disk import check_disk, least, needed
from pipeline.local.job import Job, check_champion, pipeline_of

NO_DATA = "the data is not prepared here yet: that is done first, and a named data set is fetched"


@dataclass(frozen=True, kw_only=True)
class NodeForecast:
    """What a run would do with a node.

    cached: whether its output comes from the cache. why: why it does not; '' where it does.
    seconds: time that it took when it was computed last; None where it never was, or met a champion
        then and would meet none now, or the other way round.
    """

    cached: bool
    why: str
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Met:
    """The champion that a candidate would meet, with its figures; or why it would meet none."""

    version: str | None
    clean: float | None = None
    worst_case: float | None = None
    certified: float | None = None
    not_compared: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan(Document, schema="plan/1"):
    """What a run would do.

    nodes: in the order of execution. disk: what it needs at most and what is free. push: folder in
    which a model that passes becomes a version. above: the highest number there; 0 for none. stops:
    why the run would fail for want of disk; '' where it would not.
    """

    preset: str
    root: str
    data: str
    nodes: dict[str, NodeForecast]
    disk: str
    champion: Met
    push: str
    above: int
    notes: list[str]
    stops: str


def planned(job: Job) -> Plan:
    """The plan of a run.

    Raises:
        GauntletError: the run would end with it.
    """
    data, notes = job.config.data, []
    with phase("data"):
        prepared = found(data.dataset, str(job.data_dir) if job.data_dir else None, data.resize)
    if prepared is None:
        notes.append(NO_DATA)
    with phase("TFX"):
        from pipeline.local import forecast  # noqa: F401
    with reading(str(job.root.serving)), phase("nodes"):
        check_champion(job.root)
        champion = _met(job)
        nodes = _nodes(job, prepared or _unknown(data.dataset), champion)
    disk, stops = _disk(job, prepared)
    return Plan(
        preset=job.config.preset,
        root=str(job.root),
        data=f"{prepared.name} {prepared.version} in {prepared.directory}" if prepared else "",
        nodes=nodes,
        disk=disk,
        champion=champion,
        push=str(job.root.serving),
        above=int(next(reversed(numbers(str(job.root.serving))), 0)),
        notes=notes,
        stops=stops,
    )


def _unknown(dataset: str) -> PreparedDataset:
    """Data of which nothing is known, and so nothing is in the cache."""
    return PreparedDataset(name=dataset, version="", directory="", splits={}, fingerprint="unknown")


def _nodes(job: Job, prepared: PreparedDataset, champion: Met) -> dict[str, NodeForecast]:
    from pipeline.local.forecast import forecast
    from pipeline.local.reasons import Reasons

    data_dir = job.root.linked_data(prepared.directory)
    with tempfile.TemporaryDirectory(prefix="gauntlet-plan-") as folder:
        artifacts = Path(folder, "artifacts")
        metadata = job.root.copied_metadata(Path(folder, "metadata.sqlite"))

        def build(config: RunConfig) -> Any:
            other = dataclasses.replace(job, config=config)
            return pipeline_of(other, prepared, data_dir, artifacts, metadata)

        def read(run_id: str) -> RunConfig | None:
            with contextlib.suppress(OSError, ValueError, ConfigError):
                return RunConfig.from_json((job.root.results(run_id) / "config.json").read_text())
            return None

        rival = champion.version is not None and not champion.not_compared
        reasons = Reasons(job.config, build, read)
        nodes = forecast(build(job.config), job.run_id, reasons, rival)
        if not job.anyway:
            _refuse_beyond(job, metadata)
    return nodes


def _refuse_beyond(job: Job, metadata: Any) -> None:
    """As AnomalyGate, where the data that it would see is in the cache."""
    from tfx.orchestration.metadata import Metadata

    from components.anomaly_gate import refuse_beyond
    from components.class_names import names_in
    from components.evaluator.asked import gates
    from components.schema import schema_of
    from pipeline.root.metadata import RunOutputs

    data = job.config.data
    schema = schema_of(data.dataset, data.image_shape, data.classes, data.class_names)
    asked = [gate.plain() for gate in gates(job.config.gates, names_in(schema))]
    with Metadata(metadata) as connected, contextlib.suppress(RunError):  # it is not in the cache
        uri = RunOutputs(connected.store, job.run_id).artifact("TfdsExampleGen", "examples").uri
        refuse_beyond(asked, uri)


def _disk(job: Job, prepared: PreparedDataset | None) -> tuple[str, str]:
    """What is needed and free, and why that is too little, or ''."""
    need = least(job.config)
    if prepared:
        champion = newest(str(job.root.serving)) is not None
        with contextlib.suppress(ConfigError):  # a split that is not there: its node says so
            need = needed(job.config, prepared, champion)
    there = next(folder for folder in _upwards(job.root.folder) if folder.exists())
    try:
        return check_disk(there, need), ""
    except RunError as error:
        return "", str(error)


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _met(job: Job) -> Met:
    """The champion, as the node of that name finds it."""
    served = newest(str(job.root.serving))
    if served is None:
        return Met(version=None, not_compared="no model is served yet")
    agreement = agree(str(job.root.serving), terms_of(job.config), job.mandate)
    why = agreement.not_compared
    if not job.config.gates.champion:
        why = why or "gates.champion=0 asks for no comparison"
    return _figures(served, why)


def _figures(served: Version, why: str) -> Met:
    card = served.card
    return Met(
        version=served.version,
        clean=card.clean,
        worst_case=card.worst_case,
        certified=card.certified,
        not_compared=why,
    )
