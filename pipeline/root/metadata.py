"""What a run left in ML Metadata: states and outputs of its nodes, and the mending after a kill.

MLMD 1.21 has no filter queries; everything here uses the plain getters.
"""

import datetime
import glob
import os
import shutil
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.spans import ACCEPTED_AT
from foundation.errors import RunError
from foundation.whole import sync, sync_tree

ACCEPTED = "gauntlet.AcceptedStatistics"
"""Type of the artifacts in which an earlier version kept the statistics of spans."""

UNFINISHED = (mlmd.Execution.NEW, mlmd.Execution.RUNNING)


def is_cached(store: MetadataStore, execution_id: int) -> bool:
    """Whether TFX served the execution from its cache."""
    (execution,) = store.get_executions_by_id([execution_id])
    return execution.last_known_state == mlmd.Execution.CACHED


def mend(store: MetadataStore, pipeline_root: str) -> int:
    """Mark executions that a killed run left unfinished as failed, and remove what they had
    written.

    Call it only while no run is under way on this root. Returns how many there were.
    """
    stale = [e for e in store.get_executions() if e.last_known_state in UNFINISHED]
    for execution in stale:
        execution.last_known_state = mlmd.Execution.FAILED
        for folder in glob.glob(
            os.path.join(glob.escape(pipeline_root), "*", "*", str(execution.id))
        ):
            shutil.rmtree(folder, ignore_errors=True)
    if stale:
        store.put_executions(stale)
    return len(stale)


def keep_spans(store: MetadataStore, spans: str) -> None:
    """Keep where AnomalyGate does now what an earlier version of it had accepted as artifacts.

    spans: see `components.spans`.
    """
    for artifact in store.get_artifacts_by_type(ACCEPTED):
        span = artifact.custom_properties["span"].int_value
        made = datetime.datetime.fromtimestamp(
            artifact.create_time_since_epoch / 1000, tz=datetime.UTC
        )
        kept = os.path.join(spans, str(span), made.strftime(ACCEPTED_AT))
        if span and os.path.isdir(artifact.uri) and not os.path.exists(kept):
            new = f"{kept}.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(artifact.uri, new)
            sync_tree(Path(new))
            os.rename(new, kept)
            sync(Path(kept).parent)


class RunOutputs:
    """The artifacts that the nodes of one run produced or took from the cache.

    run_id: name of the run.
    """

    def __init__(self, store: MetadataStore, run_id: str) -> None:
        self._store, self.run_id = store, run_id
        context = store.get_context_by_type_and_name("pipeline_run", run_id)
        if context is None:
            raise RunError(f"the metadata knows no run {run_id}")
        self._executions = {
            self._node(execution): execution
            for execution in store.get_executions_by_context(context.id)
        }

    def artifact(self, node: str, key: str) -> mlmd.Artifact:
        """The one output artifact of a node, such as ("Evaluator", "evaluation")."""
        if node not in self._executions:
            raise RunError(
                f"the node {node} did not run; nodes that did: {sorted(self._executions)}"
            )
        events = self._store.get_events_by_execution_ids([self._executions[node].id])
        for event in events:
            if event.type == mlmd.Event.OUTPUT and event.path.steps[0].key == key:
                (found,) = self._store.get_artifacts_by_id([event.artifact_id])
                if found.state == mlmd.Artifact.DELETED:
                    raise RunError(
                        f"`gauntlet clean` has removed what run {self.run_id} made; run it again"
                    )
                return found
        raise RunError(f"the node {node} has no output {key!r}")

    def _node(self, execution: mlmd.Execution) -> str:
        contexts = self._store.get_contexts_by_execution(execution.id)
        names = [c.name for c in contexts if c.type == "node"]
        return names[0].partition(".")[2]  # the context is named PIPELINE.NODE


def pushed_by(outputs: RunOutputs) -> str | None:
    """Folder of the version that a run serves; None where its Pusher pushed nothing.

    Raises:
        RunError: the Pusher did not end.
    """
    pushed = outputs.artifact("Pusher", "pushed_model").custom_properties
    if "pushed" not in pushed:
        raise RunError(f"the Pusher of run {outputs.run_id} did not end")
    destination = str(pushed["pushed_destination"].string_value)
    return destination if pushed["pushed"].int_value == 1 else None
