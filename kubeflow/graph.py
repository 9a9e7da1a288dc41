"""The graph of tasks in a compiled pipeline."""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from foundation.errors import ConfigError

Spec = Mapping[str, Any]


def needs_of(task: Mapping[str, Any]) -> set[str]:
    """The tasks that a task comes after."""
    inputs = task.get("inputs", {})
    artifacts = [each["taskOutputArtifact"] for each in inputs.get("artifacts", {}).values()]
    values = [each.get("taskOutputParameter") for each in inputs.get("parameters", {}).values()]
    producers = {each["producerTask"] for each in (*artifacts, *values) if each}
    return {*task.get("dependentTasks", ()), *producers}


def order_of(spec: Spec) -> list[str]:
    """The tasks, each after those that it needs; the same order every time."""
    tasks = spec["root"]["dag"]["tasks"]
    sorter = TopologicalSorter({name: sorted(needs_of(tasks[name])) for name in sorted(tasks)})
    return list(sorter.static_order())


def check_graph(spec: Spec) -> None:
    """Raises ConfigError where a specification names what it has not, or goes in a circle."""
    tasks = spec["root"]["dag"]["tasks"]
    try:
        if unknown := set(order_of(spec)) - tasks.keys():
            raise ConfigError(f"there is no task {', '.join(sorted(unknown))}")
    except CycleError as error:
        raise ConfigError(f"the tasks go in a circle: {' -> '.join(error.args[1])}") from error
    for name, task in tasks.items():
        if not re.fullmatch(r"[\w.-]+", name) or set(name) == {"."}:
            raise ConfigError(f"the name of the task {name!r} is none")
        try:
            _check_task(spec, task)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"the task {name} is not complete: {error!r}") from error


def _check_task(spec: Spec, task: Mapping[str, Any]) -> None:
    """Look up all that running a task looks up."""
    component = spec["components"][task["componentRef"]["name"]]
    executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
    if "importer" not in executor:
        container = executor["container"]
        if not (container["image"] and [*container["command"], *container["args"]]):
            raise ValueError("no command")
        dict.fromkeys((each["name"], each["value"]) for each in container.get("env", ()))
    retries = task.get("retryPolicy", {}).get("maxRetryCount", 0)
    if not isinstance(retries, int) or retries < 0:
        raise ValueError(f"maxRetryCount={retries!r}")
    inputs = task.get("inputs", {})
    for source in inputs.get("artifacts", {}).values():
        made = source["taskOutputArtifact"]
        _outputs(spec, made["producerTask"], "artifacts")[made["outputArtifactKey"]]
    for source in inputs.get("parameters", {}).values():
        if answer := source.get("taskOutputParameter"):
            _outputs(spec, answer["producerTask"], "parameters")[answer["outputParameterKey"]]
        elif name := source.get("componentInputParameter"):
            spec["root"]["inputDefinitions"]["parameters"][name]["defaultValue"]
        else:
            source["runtimeValue"]["constant"]


def _outputs(spec: Spec, task: str, kind: str) -> Mapping[str, Any]:
    """What a task's component declares."""
    component = spec["root"]["dag"]["tasks"][task]["componentRef"]["name"]
    outputs: Mapping[str, Any] = spec["components"][component]["outputDefinitions"][kind]
    return outputs
