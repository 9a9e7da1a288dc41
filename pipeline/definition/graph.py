"""A graph of nodes as it is written down, each with the code that it runs in its cache key."""

from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types.channel import OutputChannel

from foundation.code import code_of, named_in

CODE = "code"
"""Execution property that holds the key. No executor reads it; TFX's cache, ML Metadata and
Kubeflow see it."""


class Dag:
    """Collects nodes; `nodes` has them in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[BaseNode] = []

    def add(
        self, node: BaseNode | None, output: str, after: OutputChannel | None = None
    ) -> OutputChannel | None:
        """The named output of a node, which now belongs to the graph; None for a node that is None.

        after: output that must be there before the node runs, though it reads nothing of it.
        """
        if node is None:
            return None
        if after is not None:
            node.add_upstream_node(after.producer_component)
        self.nodes.append(keyed(node))
        return node.outputs[output]


def keyed(node: Any) -> Any:
    """The node, with a key of the code that it runs: its executor's, and that of the modules which
    its parameters name, as `run_fn` does. A resolver runs always and needs none."""
    if isinstance(node, BaseComponent):
        runs = [node.executor_spec.executor_class.__module__, *node.exec_properties.values()]
        node.exec_properties[CODE] = code_of(*named_in(" ".join(map(str, runs))))
    return node
