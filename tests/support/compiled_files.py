"""Compiled pipelines in miniature: three tasks, as `gauntlet compile` writes them."""

import copy
import json
from pathlib import Path
from typing import Any

import yaml

TASKS = ("TfdsExampleGen", "Trainer-robust", "Verdict")


def task(name: str, needs: str = "", **parameters: float) -> dict[str, Any]:
    """A task of the specification, whose component has its name."""
    made: dict[str, Any] = {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "cachingOptions": {"enableCache": True},
        "inputs": {
            "parameters": {
                key: {"runtimeValue": {"constant": value}} for key, value in parameters.items()
            }
        },
    }
    return made | ({"dependentTasks": [needs]} if needs else {})


SPEC: dict[str, Any] = {
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.21.0",
    "pipelineInfo": {"name": "gauntlet"},
    "defaultPipelineRoot": "gs://bucket/artifacts",
    "root": {
        "inputDefinitions": {
            "parameters": {
                "threat_epsilon": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.2},
                "seed": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0},
            }
        },
        "dag": {
            "tasks": {
                "TfdsExampleGen": task("TfdsExampleGen"),
                "Trainer-robust": task("Trainer-robust", "TfdsExampleGen"),
                "Verdict": task("Verdict", "Trainer-robust", fail_on_refusal=1.0),
            }
        },
    },
    "components": {name: {"executorLabel": f"{name}_executor"} for name in TASKS},
    "deploymentSpec": {
        "executors": {f"{name}_executor": {"container": {"image": "i"}} for name in TASKS}
    },
}

PLATFORMS = {
    "platforms": {
        "kubernetes": {
            "deploymentSpec": {
                "executors": {"Trainer-robust_executor": {"pvcMount": [{"mountPath": "/store"}]}}
            }
        }
    }
}


def spec(refusal_fails: bool = True) -> dict[str, Any]:
    """The specification."""
    made = copy.deepcopy(SPEC)
    parameters = made["root"]["dag"]["tasks"]["Verdict"]["inputs"]["parameters"]
    parameters["fail_on_refusal"]["runtimeValue"]["constant"] = float(refusal_fails)
    return made


def kfp_file(folder: Path, refusal_fails: bool = True, volumes: bool = False) -> Path:
    """What is compiled for Kubeflow Pipelines."""
    file = folder / "pipeline.yaml"
    documents = [spec(refusal_fails), *([PLATFORMS] if volumes else [])]
    file.write_text(yaml.safe_dump_all(documents))
    return file


def vertex_file(folder: Path, refusal_fails: bool = True) -> Path:
    """What is compiled for Vertex AI."""
    file = folder / "pipeline.json"
    bare = spec(refusal_fails)
    root = bare.pop("defaultPipelineRoot")
    job = {"pipelineSpec": bare, "runtimeConfig": {"gcsOutputDirectory": root}}
    file.write_text(json.dumps(job))
    return file
