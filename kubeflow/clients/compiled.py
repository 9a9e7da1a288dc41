"""Reads what `gauntlet compile` wrote."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from gauntlet_kubeflow.clients.request import Destination
from gauntlet_kubeflow.graph import check_graph
from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError

VERDICT = "Verdict"
"""Task that fails when the model was refused."""

FAIL_ON_REFUSAL = "fail_on_refusal"


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A compiled pipeline.

    content: specification, or job of Vertex AI. platform: what the specification leaves to
        Kubernetes, a document of its own; empty where there is none. root: folder of the artifacts.
    """

    target: Target
    content: Mapping[str, Any]
    platform: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pipeline specification."""
        spec: Mapping[str, Any] = self.content.get("pipelineSpec", self.content)
        return spec

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(self._tasks)

    @property
    def refusal_fails(self) -> bool:
        """Whether a run fails when its model is refused."""
        if VERDICT not in self._tasks:
            return False
        given = self._tasks[VERDICT].get("inputs", {}).get("parameters", {})
        value = given.get(FAIL_ON_REFUSAL, {}).get("runtimeValue", {})
        return bool(value.get("constant", 1))

    @property
    def volumes(self) -> dict[str, str]:
        """The volumes that the containers mount: paths in them, by claim."""
        mounts = [mount for each in self._told.values() for mount in each.get("pvcMount", ())]
        return {mount["constant"]: mount["mountPath"] for mount in mounts}

    def mounts(self, claim: str, path: str) -> set[str]:
        """The executors that mount a volume there."""
        wanted = {"constant": claim, "mountPath": path}
        return {name for name, each in self._told.items() if wanted in each.get("pvcMount", ())}

    @property
    def _told(self) -> Mapping[str, Any]:
        """What Kubernetes is told, by executor."""
        kubernetes = self.platform.get("platforms", {}).get("kubernetes", {})
        executors: Mapping[str, Any] = kubernetes.get("deploymentSpec", {}).get("executors", {})
        return executors

    @property
    def _tasks(self) -> Mapping[str, Any]:
        tasks: Mapping[str, Any] = self.spec["root"]["dag"]["tasks"]
        return tasks

    def without_cache(self) -> "Compiled":
        """The same pipeline, of which no task is served from a cache."""
        other = replace(self, content=copy.deepcopy(self.content))
        for task in other._tasks.values():
            task["cachingOptions"] = {"enableCache": False}
        return other


def read_compiled(file: Path, destination: Destination) -> Compiled:
    """The pipeline in a file.

    Raises:
        ConfigError: there is no such file, it holds no compiled pipeline, or one for another
            target than `destination`.
    """
    compiled = _compiled(file, _documents(file))
    if destination not in (compiled.target.value, Destination.LOCAL):
        raise ConfigError(
            f"{file} was compiled for {compiled.target}, not for {destination}; submit it with "
            f"--target {compiled.target}, or compile it with --target {destination}"
        )
    return compiled


def _documents(file: Path) -> list[Any]:
    try:
        text = file.read_text()
        if text.lstrip().startswith("{"):
            return [json.loads(text)]
        return list(yaml.safe_load_all(text))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {file}; `gauntlet compile --output {file}` writes it"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # broken JSON, or bytes that are no text
        raise ConfigError(f"{file} is no JSON: {error}") from error
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise ConfigError(f"{file} is neither JSON nor YAML: {line}") from error


def _compiled(file: Path, documents: list[Any]) -> Compiled:
    match documents:
        case [{"pipelineSpec": _, "runtimeConfig": {"gcsOutputDirectory": root}} as job]:
            compiled = Compiled(target=Target.VERTEX, content=job, root=root)
        case [{"schemaVersion": _, "root": _, "defaultPipelineRoot": root} as spec]:
            compiled = Compiled(target=Target.KFP_V2, content=spec, root=root)
        case [{"schemaVersion": _, "defaultPipelineRoot": root} as spec, {"platforms": _} as more]:
            compiled = Compiled(target=Target.KFP_V2, content=spec, platform=more, root=root)
        case _:
            raise _no_pipeline(file)
    try:
        if not (compiled.tasks and compiled.name):
            raise _no_pipeline(file)
        check_graph(compiled.spec)
        _check_volume(compiled)
    except ConfigError as error:
        raise ConfigError(f"{file} was cut off or changed: {error}") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_pipeline(file) from error
    return compiled


def _check_volume(compiled: Compiled) -> None:
    """Raises ConfigError unless all containers mount the volume with which it was compiled: into
    anything else a model would vanish."""
    from gauntlet_kubeflow.parameters.given import request_of

    request = request_of(compiled.spec)
    if request is None or request.volume is None:
        return
    executors = compiled.spec["deploymentSpec"]["executors"].items()
    containers = {name for name, executor in executors if "container" in executor}
    if left_out := containers - compiled.mounts(request.volume.claim, request.volume.path):
        raise ConfigError(f"the volume is not mounted by {', '.join(sorted(left_out))}")


def _no_pipeline(file: Path) -> ConfigError:
    return ConfigError(
        f"{file} holds no compiled pipeline; expected what `gauntlet compile --output` writes"
    )
