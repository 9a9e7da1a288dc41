"""One run on this machine, from the data to `summary.json`: what `gauntlet run` does underneath.

A run writes into its root: metadata, artifacts, pushed versions, and its own folder of results with
`config.json`, `schema.pbtxt`, what `pipeline.report` writes, and the log. This module is read
without TFX, which is imported in a phase of its own, since that takes ten seconds.
"""

import contextlib
import dataclasses
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.bound import seen_in
from components.datasets.image_folder import is_folder
from components.datasets.prepare import PreparedDataset, prepare
from components.mandate import Mandate
from components.schema import schema_of
from components.versions import list_versions, newest, unnoted
from foundation.errors import ConfigError, GauntletError
from foundation.events import Fields, phase
from foundation.versions import newest_version, sweep
from foundation.whole import write_text
from pipeline.definition.config import RunConfig
from pipeline.definition.terms import terms_of
from pipeline.local.disk import check_disk, least, needed
from pipeline.local.orchestrator import Orchestrator
from pipeline.production.listing import held_against
from pipeline.report.run_summary import Outcome
from pipeline.root.root import CONFIG, Root

log = logging.getLogger("gauntlet.job")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run: what to compute, and where.

    root: place of metadata, artifacts, results and pushed models.
    data_dir: folder of prepared data or of archives, see `components.datasets`; None for tfds's
        own.
    mandate: who answers for another purpose or a weaker policy.
    anyway: whether it goes on where no model can pass.
    """

    config: RunConfig
    root: Root
    run_id: str
    data_dir: Path | None
    orchestrator: Orchestrator
    mandate: Mandate = field(default_factory=Mandate)
    anyway: bool = False


def run_job(job: Job) -> Outcome:
    """Run and return what became of it; the summary is also written to the run's folder.

    Raises:
        GauntletError: the root is in use, the data is bad, an attack left its ball. Even so the run
            may have pushed, see `pushed_before`.
    """
    what = f"another run is under way in {job.root}"
    with job.root.locked(what, "wait for it, or give this one another --root"):
        with job.root.serving_lock():  # where a push could not take it, the run ends here
            pass
        return _run_alone(job)


def pushed_before(job: Job, error: BaseException) -> Outcome | None:
    """What became of a run that failed, was stopped or was killed: None where it had not come to
    the end of its push yet.

    The card of a version tells, which is there when the version is, whatever the metadata know.
    Where the model was served already, or refused, no card does, and the metadata tell.
    """
    problems = [f"what comes after the push: {error}"]
    for version in reversed(list_versions(str(job.root.serving))):
        if version.card.run_id == job.run_id:
            return Outcome(pushed=str(job.root.serving / version.version), problems=problems)
    from ml_metadata.errors import StatusError

    from pipeline.root.metadata import RunOutputs, pushed_by

    with contextlib.suppress(GauntletError, StatusError), job.root.known() as store:
        if store is not None:
            return Outcome(pushed=pushed_by(RunOutputs(store, job.run_id)), problems=problems)
    return None


def _run_alone(job: Job) -> Outcome:
    begin = time.monotonic()
    folder = job.root.results(job.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, job.config.to_json())
    check_disk(job.root.folder, least(job.config))  # before hours of download
    _write_schema(job)  # without one nothing must be downloaded first
    with phase("data"):
        data_dir = str(job.data_dir) if job.data_dir else None
        prepared = prepare(job.config.data.dataset, data_dir, job.config.data.resize)
    if job.config.trainer.network:
        with phase("network"):
            _check_network(job.config)
    with phase("TFX"):
        from pipeline.local.runner import run_pipeline
        from pipeline.report.summary import write_results

        _check_disk(job, prepared)
        pipeline = _assemble(job, prepared)
    nodes = run_pipeline(pipeline, job.orchestrator, job.run_id)
    with phase("results"):
        return write_results(
            job.config, folder, job.run_id, job.root.connection, nodes, begin, prepared
        )


def _write_schema(job: Job) -> None:
    data, file = job.config.data, job.root.results(job.run_id) / "schema.pbtxt"
    schema = schema_of(data.dataset, data.image_shape, data.classes, data.class_names)
    write_text(file, schema)
    if is_folder(data.dataset):
        log.info(
            "%s: images of shape %s (height, width, channels), %d classes (%s); the schema derived "
            "from that is %s",
            data.dataset, data.image_shape, data.classes, ", ".join(data.class_names), file,
        )  # fmt: skip


def _check_network(config: RunConfig) -> None:
    """Build the user's network once, and its recipe, so that a mistake shows before anything has
    run."""
    from robustness.bounds.trace import NoBoundError, trace
    from trainer.network import build_network
    from trainer.recipes import build_recipe

    network = build_network(config.trainer, config.data.image_shape, config.data.classes)
    build_recipe(config.recipe, network, config.threat)
    try:
        trace(network, config.data.image_shape)
        bound = "its bounds can be certified"
    except NoBoundError as error:
        bound = f"not certified: {error}"
    log.info("%s: %d weights; %s", config.trainer.network, network.count_params(), bound)


def _check_disk(job: Job, prepared: PreparedDataset) -> None:
    """Says what the run needs; raises RunError where it would fill the disk."""
    try:
        need = needed(
            job.config, prepared, champion=newest_version(str(job.root.serving)) is not None
        )
    except ConfigError:  # a split that is not there: the node that reads it says so
        return
    log.info(check_disk(job.root.folder, need), extra=Fields(stays=True))


def _assemble(job: Job, prepared: PreparedDataset) -> Any:
    """The pipeline, on a root where what killed runs left behind is mended."""
    _mend(job.root)
    check_champion(job.root)
    data_dir = job.root.link_data(prepared.directory)
    return pipeline_of(job, prepared, data_dir, job.root.artifacts, job.root.connection)


def pipeline_of(
    job: Job, prepared: PreparedDataset, data_dir: str, artifacts: Path, metadata: Any
) -> Any:
    """The pipeline of a run.

    Args:
        data_dir: where the nodes find the prepared data.
        artifacts: folder of what they write.
        metadata: connection.
    """
    from components.spans import newest_accepted
    from pipeline.definition.dag import Places, create_pipeline

    serving, spans, terms = str(job.root.serving), str(job.root.spans), terms_of(job.config)
    places = Places(
        pipeline_root=str(artifacts),
        serving=serving,
        spans=spans,
        checkpoints=str(job.root.artifacts / ".checkpoints"),
        served=seen_in(serving),
        accepted=newest_accepted(spans, job.config.data.span, terms.purpose.dataset),
        terms=terms,
        mandate=job.mandate.to_json(),
        anyway=job.anyway,
        data_dir=data_dir,
        data_fingerprint=prepared.fingerprint,
        metadata=metadata,
        run_id=job.run_id,
    )
    # The nodes read what is prepared, and need no folder of images.
    data = dataclasses.replace(job.config.data, dataset=prepared.name)
    config = dataclasses.replace(job.config, data=data)
    return create_pipeline(config, places, beam_pipeline_args=[])


def check_champion(root: Root) -> None:
    """Raises RunError where what is served is damaged, or nobody pushed it."""
    from components.champion import require_sound

    serving = str(root.serving)
    if lost := unnoted(serving, list_versions(serving)):
        log.warning("%s", lost, extra=Fields(stays=True))
    if served := newest(serving):
        require_sound(serving, held_against(root, served))


def _mend(root: Root) -> None:
    """Remove what killed runs left half done; call it only while no run is under way."""
    from pipeline.root.metadata import keep_spans, mend

    with root.metadata() as store:
        mended = mend(store, str(root.artifacts))
        keep_spans(store, str(root.spans))
    sweep(str(root.serving))
    if mended:
        log.info("an earlier run was killed: %d unfinished executions are marked as failed", mended)
