"""A graph of nodes as it is written down, each with the code that it runs in its cache key."""

from tfx.dsl.components.base.base_node import BaseNode
from tfx.types.channel import OutputChannel

from components.keys import keyed


class Dag:
    """Collects nodes; `nodes` has them in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[BaseNode] = []

    def add(
        self, node: BaseNode | None, output: str = "", after: OutputChannel | None = None
    ) -> OutputChannel | None:
        """The named output of a node, which now belongs to the graph; None for a node that is None,
        or has none.

        after: output that must be there before the node runs, though it reads nothing of it.
        """
        if node is None:
            return None
        if after is not None:
            node.add_upstream_node(after.producer_component)
        self.nodes.append(keyed(node))
        return node.outputs[output] if output else None
