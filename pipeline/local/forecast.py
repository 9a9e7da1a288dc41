"""Which nodes a run would take from TFX's cache. TFX itself is asked: on a copy of the metadata its
launcher prepares every node as in a run, and what it would then compute is not computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher
from tfx.types import artifact_utils

from pipeline.local.plan import NodeForecast
from pipeline.local.reasons import Reasons
from pipeline.local.runner import compiled
from pipeline.root.metadata import is_cached

LOOKUPS = ("CuratedSchema", "Champion", "LastSpan")
"""Nodes that are computed all the same, into a folder that is removed: they only read, in no time,
and what the others do depends on their answers."""

RIVAL_ROWS = "challenged_examples"
"""Input or output of the nodes that have more to do where there is a champion: it has no split
where there was none."""

SUCCESSFUL = (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)


def forecast(
    pipeline: Pipeline, run_id: str, reasons: Reasons, rival: bool
) -> dict[str, NodeForecast]:
    """What a run would do with each node, in their order.

    Args:
        pipeline: it writes into a folder of its own, and has a copy of the root's metadata.
        reasons: what is behind a node's parameters.
        rival: whether the candidate would meet a champion.

    Raises:
        GauntletError: the run would end with it at a node that looks something up.
    """
    with _asked(reasons, rival) as nodes:
        LocalDagRunner().run_with_ir(compiled(pipeline, run_id))
    return nodes


@contextmanager
def _asked(reasons: Reasons, rival: bool) -> Iterator[dict[str, NodeForecast]]:
    """Nodes are prepared in place of being run while the context is open; see
    `pipeline.local.runner.logged_nodes`."""
    nodes: dict[str, NodeForecast] = {}
    original = launcher.Launcher.launch

    def launch(self: launcher.Launcher) -> Any:
        name, pipeline = self._pipeline_node.node_info.id, self._pipeline_info.id
        with self._mlmd_connection as metadata:
            past = Past.of(metadata.store, f"{pipeline}.{name}", rival)
        if again := computed_again(self._pipeline_node, nodes):
            why = f"computed again before it: {', '.join(again)}"
            nodes[name] = NodeForecast(cached=False, why=why, seconds=past.seconds)
            return None
        info = original(self) if name in LOOKUPS else self._prepare_execution().execution_info
        with self._mlmd_connection as metadata:
            cached = is_cached(metadata.store, info.execution_id)
            why = "" if cached else past.why(metadata.store, name, info.execution_id, reasons)
        nodes[name] = NodeForecast(cached=cached, why=why, seconds=past.seconds)
        return info

    launcher.Launcher.launch = launch
    try:
        yield nodes
    finally:
        launcher.Launcher.launch = original


def computed_again(node: Any, nodes: dict[str, NodeForecast]) -> list[str]:
    """The nodes before this one that would be computed, and so hand it something new."""
    producers = {
        channel.producer_node_query.id
        for given in node.inputs.inputs.values()
        for channel in given.channels
    }
    known = {name for name in producers if name in nodes and name not in LOOKUPS}
    return sorted(name for name in known if not nodes[name].cached)


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a node did before. last: how it last came to its end. failed: whether it only failed.
    seconds: time that it took when it was computed last; None where it never was, or had another
    work then, because it met a champion or met none."""

    last: mlmd.Execution | None
    failed: bool
    seconds: float | None

    @classmethod
    def of(cls, store: MetadataStore, context: str, rival: bool) -> "Past":
        """From the metadata. context: PIPELINE.NODE. rival: see `forecast`."""
        known = store.get_context_by_type_and_name("node", context)
        found = store.get_executions_by_context(known.id) if known else []
        ended = [each for each in found if each.last_known_state in SUCCESSFUL]
        computed = [each for each in ended if each.last_known_state == mlmd.Execution.COMPLETE]
        seconds = None
        newest = max(computed, key=_by_id, default=None)
        if newest and met_rival(store, newest.id) in (rival, None):
            begin, end = newest.create_time_since_epoch, newest.last_update_time_since_epoch
            seconds = round((end - begin) / 1000, 1)
        last = max(ended, key=_by_id, default=None)
        return cls(last=last, failed=bool(found) and not ended, seconds=seconds)

    def why(self, store: MetadataStore, name: str, execution_id: int, reasons: Reasons) -> str:
        """Why the node is computed: in what the new execution differs from the last one."""
        if self.last is None:
            return "it never came to its end here" if self.failed else "it never ran here"
        (now,) = store.get_executions_by_id([execution_id])
        run_id = next(
            each.name
            for each in store.get_contexts_by_execution(self.last.id)
            if each.type == "pipeline_run"
        )
        before = self.last.custom_properties
        if found := reasons.of(name, run_id, dict(before), dict(now.custom_properties)):
            return found
        then, given = inputs_of(store, self.last.id), inputs_of(store, execution_id)
        others = sorted(key.removeprefix("_") for key in given if given[key] != then.get(key))
        if others:
            return f"another input than last time: {', '.join(others)}"
        return "what it wrote last time is not there any more"


def met_rival(store: MetadataStore, execution_id: int) -> bool | None:
    """Whether there was a champion for an execution; None where that is nothing to it."""
    found = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution_id])
        if event.path.steps and event.path.steps[0].key.removeprefix("_") == RIVAL_ROWS
    ]
    rows = store.get_artifacts_by_id(found)
    return any(artifact_utils.decode_split_names(_splits(each)) for each in rows) if rows else None


def _splits(rows: mlmd.Artifact) -> str:
    return str(rows.properties["split_names"].string_value)


def inputs_of(store: MetadataStore, execution_id: int) -> dict[str, list[int]]:
    """Ids of the artifacts that an execution read, by the name of the input."""
    found: dict[str, list[int]] = {}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type == mlmd.Event.INPUT:
            found.setdefault(event.path.steps[0].key, []).append(event.artifact_id)
    return found


def _by_id(execution: mlmd.Execution) -> int:
    return int(execution.id)
