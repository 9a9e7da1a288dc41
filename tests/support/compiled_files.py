"""Compiled pipelines in miniature: three tasks, as `gauntlet compile` writes them."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TASKS = ("TfdsExampleGen", "Trainer-robust", "Verdict")


PROGRAM = """
import json, sys
given, code = json.loads(sys.argv[1]), int(sys.argv[2])
values = given.get("inputs", {}).get("parameterValues", {})
print("values", json.dumps(values, sort_keys=True))
if not code:
    open(given["outputs"]["outputFile"], "w").write("{}")
sys.exit(code)
"""
"""What each task runs: it prints its values, and ends with a code."""


def container(code: int) -> dict[str, Any]:
    """A container whose task ends with a code."""
    return {"image": "i", "command": ["python", "-c", PROGRAM], "args": ["{{$}}", str(code)]}


def task(name: str, needs: str = "", takes: str = "", **parameters: float) -> dict[str, Any]:
    """A task of the specification, whose component has its name.

    needs: task before it. takes: parameter of the pipeline. parameters: its own values.
    """
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
    if takes:
        made["inputs"]["parameters"][takes] = {"componentInputParameter": takes}
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
                "TfdsExampleGen": task("TfdsExampleGen", takes="seed"),
                "Trainer-robust": task("Trainer-robust", "TfdsExampleGen"),
                "Verdict": task("Verdict", "Trainer-robust", fail_on_refusal=1.0),
            }
        },
    },
    "components": {name: {"executorLabel": f"{name}_executor"} for name in TASKS},
    "deploymentSpec": {
        "executors": {f"{name}_executor": {"container": container(0)} for name in TASKS}
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


def spec(refusal_fails: bool = True, codes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The specification. codes: with which tasks end, where they fail."""
    made = copy.deepcopy(SPEC)
    for name, code in (codes or {}).items():
        made["deploymentSpec"]["executors"][f"{name}_executor"]["container"] = container(code)
    parameters = made["root"]["dag"]["tasks"]["Verdict"]["inputs"]["parameters"]
    parameters["fail_on_refusal"]["runtimeValue"]["constant"] = float(refusal_fails)
    return made


def kfp_file(
    folder: Path,
    refusal_fails: bool = True,
    volumes: bool = False,
    codes: Mapping[str, int] | None = None,
) -> Path:
    """What is compiled for Kubeflow Pipelines."""
    file = folder / "pipeline.yaml"
    documents = [spec(refusal_fails, codes), *([PLATFORMS] if volumes else [])]
    file.write_text(yaml.safe_dump_all(documents))
    return file


def vertex_file(folder: Path, refusal_fails: bool = True) -> Path:
    """What is compiled for Vertex AI."""
    file = folder / "pipeline.json"
    made = spec(refusal_fails)
    runtime = {"gcsOutputDirectory": made["defaultPipelineRoot"]}
    file.write_text(json.dumps({"pipelineSpec": made, "runtimeConfig": runtime}))
    return file
