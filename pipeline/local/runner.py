"""Runs a pipeline on this machine, sequentially or on Beam, and logs each node as it goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import StandardOptions
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from foundation.events import phase
from pipeline.local.orchestrator import Orchestrator
from pipeline.report.run_summary import NodeRun
from pipeline.root.metadata import is_cached


def run_pipeline(pipeline: Pipeline, orchestrator: Orchestrator, run_id: str) -> dict[str, NodeRun]:
    """Run all nodes.

    Returns:
        What became of each node, in the order of execution.
    """
    # Beam's own default runner may try to download another one; this one is in the SDK.
    StandardOptions.DEFAULT_RUNNER = "FnApiRunner"
    ir = compiled(pipeline, run_id)
    runner = LocalDagRunner() if orchestrator is Orchestrator.LOCAL else BeamDagRunner()
    with logged_nodes() as nodes:
        runner.run_with_ir(ir)
    return nodes


def compiled(pipeline: Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """The pipeline as TFX's runners take it."""
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return ir


@contextmanager
def logged_nodes() -> Iterator[dict[str, NodeRun]]:
    """Log and time every node while the context is open. TFX has no hook for this, so its launcher,
    which all its runners on this machine use, is wrapped."""
    nodes: dict[str, NodeRun] = {}
    original = launcher.Launcher.launch

    def launch(self: launcher.Launcher) -> Any:
        node = self._pipeline_node.node_info.id
        with phase(node) as step:
            execution = original(self)
            with self._mlmd_connection as metadata:
                cached = is_cached(metadata.store, execution.execution_id)
            step.state = "cached" if cached else "finished"
        nodes[node] = NodeRun(seconds=round(step.seconds, 2), cached=cached)
        return execution

    launcher.Launcher.launch = launch
    try:
        yield nodes
    finally:
        launcher.Launcher.launch = original
