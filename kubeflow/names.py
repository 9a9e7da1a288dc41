"""Names that Argo and Vertex AI take.

Argo, which runs the tasks of Kubeflow: workflow/validate/validate.go (`workflowFieldNameFmt`).
Vertex AI: field `pipeline_job_id` of google.cloud.aiplatform.v1.CreatePipelineJobRequest, and the
variables of Python that the KFP SDK makes of parameters.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError

TASK = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}")
PARAMETER = re.compile(r"[a-zA-Z][_a-zA-Z0-9]{0,127}")
PIPELINE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of DNS (RFC 1123) that begins with a letter."""

TYPE = re.compile(r"(tfx|system|google)\.[A-Za-z]+")
"""Types of artifacts that every container can import: TFX's, for which it has a table."""

LONGEST = 120_000
"""Bytes of one argument of a container: Linux takes 128 KiB (MAX_ARG_STRLEN)."""


def task_name(node: str) -> str:
    """The name of a node's task: Argo takes no dot."""
    return node.replace(".", "-")


def check_pipeline_name(name: str) -> None:
    """Raises ConfigError unless a pipeline can have the name on every platform."""
    if not PIPELINE.fullmatch(name):
        raise ConfigError(
            f"the name of a pipeline is of small letters, digits and dashes, begins with a letter "
            f"and has at most 63 of them; got {name!r}"
        )


def check_names(spec: Mapping[str, Any], target: Target) -> None:
    """Raises ConfigError where a specification has something that a platform would refuse."""
    problems = [
        *_wrong("task", TASK, spec["root"]["dag"]["tasks"]),
        *_wrong("parameter", PARAMETER, _parameters(spec)),
        *_wrong("artifact type", TYPE, types(spec)),
        *_too_long(spec),
    ]
    if problems:
        raise ConfigError(f"{target} would refuse the pipeline: {'; '.join(problems)}")


def types(spec: Mapping[str, Any]) -> set[str]:
    """The types of all artifacts in a specification."""
    import yaml

    found = set()
    for component in spec["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(side, {}).get("artifacts", {}).values():
                kind = artifact["artifactType"]
                schema = yaml.safe_load(kind.get("instanceSchema", "{}"))
                found.add(kind.get("schemaTitle") or schema["title"])
    return found


def _parameters(spec: Mapping[str, Any]) -> Iterable[str]:
    yield from spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for component in spec["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            yield from component.get(side, {}).get("parameters", {})


def _wrong(kind: str, rule: re.Pattern[str], names: Iterable[str]) -> list[str]:
    wrong = sorted({name for name in names if not rule.fullmatch(name)})
    return [f"the {kind} {name!r} is not of the form {rule.pattern}" for name in wrong]


def _too_long(spec: Mapping[str, Any]) -> list[str]:
    """Tasks whose container would be given an argument that Linux refuses. What a task is told of
    its artifacts comes on top of its parameters: a kilobyte each."""
    problems = []
    for name, executor in spec["deploymentSpec"]["executors"].items():
        size = max(map(len, executor.get("container", {}).get("args", [""])), default=0)
        if size > LONGEST:
            problems.append(f"an argument of {name} has {size} bytes, more than {LONGEST}")
    for name, task in spec["root"]["dag"]["tasks"].items():
        inputs = task.get("inputs", {})
        size = len(str(inputs.get("parameters", {}))) + 1000 * len(inputs.get("artifacts", {}))
        if size > LONGEST:
            problems.append(f"the parameters of {name} have {size} bytes, more than {LONGEST}")
    return problems
