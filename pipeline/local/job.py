"""One run on this machine, from the data to `summary.json`: what `gauntlet run` does underneath.

Writes into the root: `metadata.sqlite`, `artifacts/`, `serving/` (pushed versions), `.data` (a link
to the data) and, for each run, `results/RUN_ID/` with `config.json`, `summary.json`, two pictures,
`schema.pbtxt` and the log.
"""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.datasets.image_folder import is_folder
from components.datasets.prepare import PreparedDataset, prepare
from components.schema import schema_of
from foundation.errors import RunError
from foundation.events import phase
from pipeline.definition.config import RunConfig

log = logging.getLogger("gauntlet.job")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run: what to compute, and where.

    root: folder of metadata, artifacts, runs and pushed models. data_dir: see
        `components.datasets`.
    orchestrator: a `pipeline.local.runner.Orchestrator`.
    """

    config: RunConfig
    root: Path
    run_id: str
    data_dir: str | None
    orchestrator: str

    @property
    def folder(self) -> Path:
        """Where the results of this run go."""
        return self.root / "results" / self.run_id


def run_job(job: Job) -> dict[str, Any]:
    """Run and return the summary, which is also written to the run's folder.

    Raises:
        GauntletError: the root is in use, the data is bad, an attack left its ball.
    """
    try:
        with FileLock(job.root / ".lock", timeout=0):
            return _run_alone(job)
    except Timeout as error:
        raise RunError(
            f"another run is under way in {job.root}; wait for it, or give this one another --root"
        ) from error


def _run_alone(job: Job) -> dict[str, Any]:
    begin = time.monotonic()
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "config.json").write_text(job.config.to_json())
    data = job.config.data
    schema = schema_of(
        data.dataset, data.image_shape, data.classes
    )  # without one nothing must be downloaded first
    (job.folder / "schema.pbtxt").write_text(schema)
    if is_folder(data.dataset):
        log.info(
            "%s: images of shape %s (height, width, channels), %d classes; the schema derived from "
            "that is %s",
            data.dataset, data.image_shape, data.classes, job.folder / "schema.pbtxt",
        )  # fmt: skip
    with phase("data"):
        prepared = prepare(job.config.data.dataset, job.data_dir)
    if job.config.trainer.network:
        with phase("network"):
            _check_network(job.config)
    with phase("TFX"):
        from pipeline.report.summary import (
            write_results,  # the imports take ten seconds, so they are a stage
        )

        connection, pipeline = _assemble(job, prepared)
    from pipeline.local.runner import Orchestrator, run_pipeline

    nodes = run_pipeline(pipeline, Orchestrator(job.orchestrator), job.run_id)
    with phase("results"):
        return write_results(job.config, job.folder, job.run_id, connection, nodes, begin)


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


def _assemble(job: Job, prepared: PreparedDataset) -> tuple[Any, Any]:
    """The metadata connection, mended, and the pipeline."""
    from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config

    from components.pusher import STAGING
    from pipeline.definition.dag import Places, create_pipeline
    from pipeline.root.metadata import mend

    connection = sqlite_metadata_connection_config(str(job.root / "metadata.sqlite"))
    artifacts = str(job.root / "artifacts")
    with Metadata(connection) as metadata:
        mended = mend(metadata.store, artifacts)
    for left_over in (job.root / "serving").glob(f"{STAGING}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    if mended:
        log.info("an earlier run was killed: %d unfinished executions are marked as failed", mended)
    places = Places(
        pipeline_root=artifacts,
        serving=str(job.root / "serving"),
        data_dir=link_data(job.root, prepared.directory),
        data_fingerprint=prepared.fingerprint,
        metadata=connection,
        run_id=job.run_id,
    )
    return connection, create_pipeline(job.config, places, beam_pipeline_args=[])


def link_data(root: Path, directory: str) -> str:
    """Link the prepared data into the root, under one name wherever the data lies; returns the
    link's path.

    TFX's cache sees the path as a parameter of TfdsExampleGen; what lies there it knows by the
    fingerprint. Call it only while no other run is under way on this root. On a disk without links,
    returns `directory`.
    """
    link = root / ".data"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(directory)
    except OSError as error:
        log.info(
            "cannot link %s (%s): the same data elsewhere will be read again", link, error.strerror
        )
        return directory
    return str(link)
