"""Cache keys of nodes: TFX's cache knows a node by its class and parameters only, so a hash of the
code that it runs becomes one of them."""

from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent

from foundation.code import code_of, named_in

CODE = "code"
"""Execution property that holds the key. No executor reads it; TFX's cache, ML Metadata and
Kubeflow see it."""


def keyed(node: Any) -> Any:
    """The node, with a key of the code that it runs: its executor's, and that of the modules which
    its parameters name, as `run_fn` does. An importer runs no code."""
    if isinstance(node, BaseComponent):
        texts = [value for value in node.exec_properties.values() if isinstance(value, str)]
        runs = [node.executor_spec.executor_class.__module__, *texts]
        node.exec_properties[CODE] = code_of(*named_in(" ".join(runs)))
    return node
