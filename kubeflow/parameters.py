"""Settings that are given when a run is submitted, without compiling again.

Most of what a setting decides is deep inside a task's own parameters, so the platform cannot put a
value there. Therefore the first task of a compiled pipeline, `Parameters`, compiles the pipeline
again with the values of the run, inside the cluster, and hands every task what has become of its
parameters. A wrong value ends the run there, before anything was computed; and a task whose
parameters stay what they were is known again by the platform's cache.

    python -m gauntlet_kubeflow.parameters --request REQUEST --code KEY --executor-input INPUT
"""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gauntlet_kubeflow.capabilities import refuse_what_cannot_run
from gauntlet_kubeflow.entry import settle
from gauntlet_kubeflow.request import Compilation

from foundation.errors import ConfigError, GauntletError
from foundation.identity import check_own_packages
from pipeline.definition.config import GatesConfig, RunConfig, override

TASK, IMPORTER = "Parameters", "Data"

URI, FINGERPRINT = "data_uri", "data_fingerprint"
"""Parameters that are no settings: where the prepared data lies, and what it is."""

KINDS = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE"}
"""Types of parameters in a specification."""

Spec = dict[str, Any]
Address = tuple[str, str]
"""A task, and the name of one of its parameters."""


OF_DATASET: set[Address] = {("TfdsExampleGen", "dataset"), ("CuratedSchema", "text")}
"""The parameters of tasks that the name of the data set decides."""


def settings_of(config: RunConfig) -> dict[str, str]:
    """The settings that a run can be given, by the names of their parameters. What would change
    the graph is none of them: spans and the champion's gate where there are none."""
    bounds = [
        f"gates.{field.name}"
        for field in dataclasses.fields(GatesConfig)
        if isinstance(getattr(config.gates, field.name), float)
    ]
    names = ["seed", "data.dataset", "data.span", "threat.epsilon", "trainer.epochs", *bounds]
    if not config.data.span:
        names.remove("data.span")
    if not config.gates.champion:
        names.remove("gates.champion")
    return {name.replace(".", "_"): name for name in names}


def defaults(request: Compilation) -> dict[str, str | int | float]:
    """The values with which a pipeline was compiled, by parameter."""
    values: dict[str, Any] = {}
    for parameter, setting in settings_of(request.config).items():
        value: Any = request.config
        for part in setting.split("."):
            value = getattr(value, part)
        values[parameter] = value
    if request.data_uri:
        values |= {URI: request.data_uri, FINGERPRINT: request.data_fingerprint}
    return values


def with_values(request: Compilation, values: Mapping[str, str | int | float]) -> Compilation:
    """The request with other values of its parameters.

    Raises:
        ConfigError: a wrong value.
    """
    known = settings_of(request.config)
    changed = {name: value for name, value in values.items() if value != defaults(request)[name]}
    assignments = [f"{known[name]}={changed[name]}" for name in known if name in changed]
    data = {name: str(value) for name, value in changed.items() if name in (URI, FINGERPRINT)}
    if bool(data.get(FINGERPRINT, request.data_fingerprint)) != bool(request.data_fingerprint):
        raise ConfigError(
            f"whether there is a {FINGERPRINT} decides what caches know: compile the pipeline "
            f"{'without' if request.data_fingerprint else 'with'} one"
        )
    return dataclasses.replace(request, config=override(request.config, assignments), **data)


def perturbed(request: Compilation) -> Compilation:
    """The request with another value of every parameter, to see which tasks take them; of the data
    set that is known (`OF_DATASET`), and another one might have another schema."""
    others: dict[str, str | int | float] = {}
    for name, value in defaults(request).items():
        if name == "seed":
            others[name] = int(value) ^ 1  # the largest has none above it
        elif isinstance(value, int):
            others[name] = value + 1
        elif isinstance(value, float):
            others[name] = value / 2 if value else 0.5
        elif name in (URI, FINGERPRINT) and value:
            others[name] = f"{value}-other"
    return with_values(request, others)


def add_parameters(
    request: Compilation, spec: Spec, compiled: Callable[[Compilation], Spec]
) -> None:
    """Give a specification its parameters, and the task that hands them on.

    compiled: makes a specification without them.
    """
    differences = _differences(spec, compiled(perturbed(request)))
    differences |= OF_DATASET
    if request.data_uri:
        differences.add(("TfdsExampleGen", "fingerprint"))
    routes = sorted(address for address in differences if address[0] != IMPORTER)
    values = defaults(request)
    spec["root"]["inputDefinitions"] = {
        "parameters": {
            name: {"parameterType": KINDS[type(value)], "defaultValue": value, "isOptional": True}
            for name, value in values.items()
        }
    }
    kinds = {
        (task, name): spec["components"][task]["inputDefinitions"]["parameters"][name]
        for task, name in routes
    }
    tasks = spec["root"]["dag"]["tasks"]
    _import_from_parameter(spec)
    for task, name in routes:
        tasks[task]["inputs"]["parameters"][name] = {
            "taskOutputParameter": {"producerTask": TASK, "outputParameterKey": _key(task, name)}
        }
    for task in tasks.values():
        task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), TASK})
    tasks[TASK] = {
        "taskInfo": {"name": TASK},
        "componentRef": {"name": TASK},
        "cachingOptions": {"enableCache": True},
        "inputs": {"parameters": {name: {"componentInputParameter": name} for name in values}},
    }
    spec["components"][TASK] = {
        "executorLabel": f"{TASK}_executor",
        "inputDefinitions": {
            "parameters": {
                name: {"parameterType": KINDS[type(value)]} for name, value in values.items()
            }
        },
        "outputDefinitions": {"parameters": {_key(*route): kinds[route] for route in routes}},
    }
    spec["deploymentSpec"]["executors"][f"{TASK}_executor"] = {
        "container": {
            "image": request.image,
            "command": ["python", "-m", "gauntlet_kubeflow.parameters"],
            "args": [
                *("--request", request.to_json(), "--code", _code(spec)),
                *("--executor-input", "{{$}}"),
            ],
        }
    }


def _code(spec: Spec) -> str:
    """A key of all code that the tasks of a specification run."""
    keys = {task: value for (task, name), value in _constants(spec).items() if name == "code"}
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]


def _key(task: str, name: str) -> str:
    """The name of an output of `Parameters`."""
    return f"{task.replace('-', '_')}__{name}"


def _constants(spec: Spec) -> dict[Address, Any]:
    """All parameters of tasks that are written down in a specification."""
    return {
        (task, name): source["runtimeValue"]["constant"]
        for task, value in spec["root"]["dag"]["tasks"].items()
        for name, source in value.get("inputs", {}).get("parameters", {}).items()
        if "runtimeValue" in source
    }


def _differences(spec: Spec, other: Spec) -> set[Address]:
    """The parameters of tasks that differ between two specifications; raises ConfigError where
    something else does."""
    here, there = _constants(spec), _constants(other)
    if here.keys() != there.keys():
        different = ", ".join(f"{task}.{name}" for task, name in here.keys() ^ there.keys())
        raise ConfigError(
            f"these values make another graph of tasks ({different}); compile the pipeline with "
            "them"
        )
    return {address for address in here if here[address] != there[address]}


def _import_from_parameter(spec: Spec) -> None:
    """Let the importer take its URI from the run itself: Kubeflow's takes it from nowhere else
    (backend/src/v2/component/importer_launcher.go)."""
    task = spec["root"]["dag"]["tasks"].get(IMPORTER)
    if task:
        executor = spec["deploymentSpec"]["executors"][
            spec["components"][IMPORTER]["executorLabel"]
        ]
        executor["importer"]["artifactUri"] = {"runtimeParameter": "artifact_uri"}
        task["inputs"]["parameters"]["artifact_uri"] = {"componentInputParameter": URI}


def parameter_values(
    spec: Mapping[str, Any], assignments: Iterable[str]
) -> dict[str, str | int | float | bool]:
    """The values of `--param`, checked as the run will check them.

    spec: what was compiled. assignments: `section.key=value`, or `section_key=value`.

    Raises:
        ConfigError: no assignment, an unknown parameter, or a wrong value.
    """
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    values: dict[str, str | int | float | bool] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace(".", "_")
        if not equals:
            raise ConfigError(f"--param takes name=value, got {assignment!r}")
        if name not in known:
            raise ConfigError(
                f"the compiled pipeline has no parameter {name!r}; it has {', '.join(known)}"
            )
        values[name] = _read(name, text, known[name]["parameterType"])
    request = request_of(spec)
    if request:
        refuse_what_cannot_run(with_values(request, values))
    return values


def _read(name: str, text: str, kind: str) -> str | int | float:
    try:
        return {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}[kind](text)
    except ValueError as error:
        wanted = "a whole number" if kind == "NUMBER_INTEGER" else "a number"
        raise ConfigError(f"{name} is {wanted}, got {text!r}") from error


def request_of(spec: Mapping[str, Any]) -> Compilation | None:
    """What a specification was compiled for; None where it was not compiled here."""
    executor = spec["deploymentSpec"]["executors"].get(f"{TASK}_executor")
    if executor is None:
        return None
    arguments = executor["container"]["args"]
    return Compilation.from_json(arguments[arguments.index("--request") + 1])


def main(arguments: list[str]) -> int:
    """What the task `Parameters` runs; returns the exit code."""
    settle()
    parser = argparse.ArgumentParser(description="The first task of a compiled pipeline.")
    parser.add_argument("--request", required=True, help="what was compiled, as JSON")
    parser.add_argument("--code", required=True, help="key of the code that compiled it")
    parser.add_argument("--executor-input", required=True, help="what the launcher gives, as JSON")
    given = parser.parse_args(arguments)
    try:
        check_own_packages()
        request = Compilation.from_json(given.request)
        hand_on(request, given.code, json.loads(given.executor_input))
    except GauntletError as error:
        sys.stderr.write(f"gauntlet: {error}\n")
        return error.exit_code
    return 0


def hand_on(request: Compilation, code: str, executor_input: Mapping[str, Any]) -> None:
    """Write what becomes of the tasks' parameters with the values of this run.

    code: key of the code with which the pipeline was compiled.

    Raises:
        ConfigError: a wrong value, one that makes another graph, or an image with other code.
    """
    kinds = {name: type(value) for name, value in defaults(request).items()}
    given = executor_input.get("inputs", {}).get("parameterValues", {})
    values = {
        name: _whole(name, given[name], kind) for name, kind in kinds.items() if name in given
    }
    changed = with_values(request, values)
    from gauntlet_kubeflow.compile import compiled_graph
    from tfx.dsl.io import fileio

    original, spec = (compiled_graph(each)["pipelineSpec"] for each in (request, changed))
    if _code(original) != code:
        raise ConfigError(
            f"{request.image} holds another version of this project, or of a library beneath it, "
            "than the one that compiled the pipeline; build the image from the same commit and "
            "locked packages, or compile where they are"
        )
    changes = {_key(*address) for address in _differences(original, spec) if address[0] != IMPORTER}
    outputs = executor_input.get("outputs", {})
    constants = {_key(*address): value for address, value in _constants(spec).items()}
    answers = {name: constants[name] for name in outputs.get("parameters", {})}
    if unrouted := changes - answers.keys():
        raise ConfigError(
            f"these values change {', '.join(sorted(unrouted))}, which the compiled pipeline has "
            "fixed; compile the pipeline with them"
        )
    fileio.makedirs(os.path.dirname(outputs["outputFile"]))
    with fileio.open(outputs["outputFile"], "w") as file:
        file.write(json.dumps({"parameterValues": answers}))


def _whole(name: str, value: Any, kind: type) -> Any:
    """A platform gives every number as a floating-point one."""
    if kind is not int:
        return value
    if int(value) != value:
        raise ConfigError(f"{name} is a whole number, got {value}")
    return int(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
