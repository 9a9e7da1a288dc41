"""Where the effects of the settings go in a specification."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from gauntlet_kubeflow.parameters.values import (
    FINGERPRINT,
    KINDS,
    MANDATE,
    URI,
    defaults,
    with_values,
)
from gauntlet_kubeflow.request import Compilation

from components.changes import Signature
from components.mandate import Mandate
from foundation.errors import ConfigError

TASK, IMPORTER = "Parameters", "Data"

Spec = dict[str, Any]
Address = tuple[str, str]
"""A task, and the name of one of its parameters."""


OF_DATASET: set[Address] = {
    ("TfdsExampleGen", "dataset"),
    ("TfdsExampleGen", "class_names"),
    ("CuratedSchema", "text"),
    ("LastSpan", "dataset"),
    ("AnomalyGate", "dataset"),
}
"""The parameters of tasks that the name of the data set decides."""


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
        elif name == MANDATE:
            other = Signature(by="other", at="", reason="other")
            others[name] = Mandate(force=True, signature=other).to_json()
    return with_values(request, others)


def add_parameters(
    request: Compilation, spec: Spec, compiled: Callable[[Compilation], Spec]
) -> None:
    """Give a specification its parameters, and the task that hands them on.

    compiled: makes a specification without them.
    """
    addresses = differences(spec, compiled(perturbed(request)))
    addresses |= OF_DATASET & constants(spec).keys()
    if request.data_uri:
        addresses.add(("TfdsExampleGen", "fingerprint"))
    routes = sorted(address for address in addresses if address[0] != IMPORTER)
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
            "taskOutputParameter": {
                "producerTask": TASK,
                "outputParameterKey": output_name(task, name),
            }
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
        "outputDefinitions": {
            "parameters": {output_name(*route): kinds[route] for route in routes}
        },
    }
    spec["deploymentSpec"]["executors"][f"{TASK}_executor"] = {
        "container": {
            "image": request.image,
            "command": ["python", "-m", "gauntlet_kubeflow.parameters.task"],
            "args": [
                *("--request", request.to_json(), "--code", code_of_spec(spec)),
                *("--executor-input", "{{$}}"),
            ],
        }
    }


def code_of_spec(spec: Spec) -> str:
    """A key of all code that the tasks of a specification run."""
    keys = {task: value for (task, name), value in constants(spec).items() if name == "code"}
    return hashlib.sha256(json.dumps(keys, sort_keys=True, allow_nan=False).encode()).hexdigest()[
        :16
    ]


def output_name(task: str, name: str) -> str:
    """The name of an output of `Parameters`."""
    return f"{task.replace('-', '_')}__{name}"


def constants(spec: Spec) -> dict[Address, Any]:
    """All parameters of tasks that are written down in a specification."""
    return {
        (task, name): source["runtimeValue"]["constant"]
        for task, value in spec["root"]["dag"]["tasks"].items()
        for name, source in value.get("inputs", {}).get("parameters", {}).items()
        if "runtimeValue" in source
    }


def differences(spec: Spec, other: Spec) -> set[Address]:
    """The parameters of tasks that differ between two specifications; raises ConfigError where
    something else does."""
    here, there = constants(spec), constants(other)
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
