"""Runs a compiled specification on this machine, task by task, as Kubeflow's driver and launcher do.

What a cluster would do with a specification is seen without one: each task is a process with
exactly the command, arguments and environment of its container, and it is given what Kubeflow
Pipelines gives: numbers as floating point, inputs without their type, artifacts under the URIs of
an object store whose files lie where the launcher has put them. What a task reports is read
strictly. A task that fails stops those that depend on it, and no other.

Follows backend/src/v2 of Kubeflow Pipelines 2.0.5 to 2.17.0: `driver/driver.go` (inputs,
fingerprint), `component/launcher_v2.go` (placeholders, `LocalPathForURI`, `mergeRuntimeArtifacts`),
`metadata/client.go` (`ToRuntimeArtifact`).
"""

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.entry import LAUNCHER_ROOT, local_path
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.json import dumps

log = logging.getLogger("gauntlet.kubeflow")

PLACEHOLDER = "{{$}}"
"""What the launcher replaces in a container's arguments by its input, as JSON."""

CACHE = "cache.json"
"""File in the folder: the outputs of tasks that were done, by their fingerprint."""


class State(StrEnum):
    """How a task ended."""

    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Produced:
    """An artifact that a task has made. name: its number in the metadata."""

    name: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


Outputs = dict[str, Produced]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended, and its artifacts by output."""

    state: State
    outputs: Outputs = field(default_factory=dict)


class LocalKubeflow:
    """The object store, the metadata and the machine of a cluster, in a folder.

    Args:
        spec: specification of KFP v2, schema 2.1.0.
        folder: where everything is kept: the files of the store, logs, and the cache.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path) -> None:
        if spec.get("schemaVersion") != "2.1.0":
            raise ConfigError(
                f"expected a specification with schema 2.1.0, got {spec.get('schemaVersion')}"
            )
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
        self._root = spec["defaultPipelineRoot"]
        self._folder = folder.absolute()
        self._numbers = 0

    def run(self, run_id: str) -> dict[str, Ended]:
        """Run all tasks; returns how each of them ended, in the order in which they ran."""
        ended: dict[str, Ended] = {}
        for task in self.order():
            with phase(task) as step:
                ended[task] = self._ended(task, run_id, ended)
                if ended[task].state is State.CACHED:
                    step.state = "cached"
        return ended

    def order(self) -> list[str]:
        """The tasks, each after those that it needs."""
        needs = {
            name: {
                *task.get("dependentTasks", ()),
                *(source["producerTask"] for source in self._sources(task).values()),
            }
            for name, task in self._tasks.items()
        }
        return list(TopologicalSorter(needs).static_order())

    def _sources(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Of each input artifact, the output of a task that it is."""
        artifacts = task.get("inputs", {}).get("artifacts", {})
        return {name: source["taskOutputArtifact"] for name, source in artifacts.items()}

    def _ended(self, name: str, run_id: str, before: Mapping[str, Ended]) -> Ended:
        task = self._tasks[name]
        needs = {
            *task.get("dependentTasks", ()),
            *(source["producerTask"] for source in self._sources(task).values()),
        }
        if any(before[need].state in (State.FAILED, State.SKIPPED) for need in needs):
            return Ended(state=State.SKIPPED)
        inputs = {
            key: before[source["producerTask"]].outputs[source["outputArtifactKey"]]
            for key, source in self._sources(task).items()
        }
        fingerprint = self._fingerprint(task, inputs)
        if task.get("cachingOptions", {}).get("enableCache") and fingerprint in self._cache():
            kept = self._cache()[fingerprint]
            return Ended(
                state=State.CACHED, outputs={key: Produced(**each) for key, each in kept.items()}
            )
        folder = self._folder / "runs" / run_id / name
        folder.mkdir(parents=True)
        given = self._given(task, inputs, f"{self._root}/{run_id}/{name}", folder)
        if not self._execute(task, given, folder):
            return Ended(state=State.FAILED)
        outputs = self._published(task, given)
        self._keep(fingerprint, outputs)
        return Ended(state=State.DONE, outputs=outputs)

    def _component(self, task: Mapping[str, Any]) -> Any:
        return self._components[task["componentRef"]["name"]]

    def _container(self, task: Mapping[str, Any]) -> Any:
        return self._executors[self._component(task)["executorLabel"]]["container"]

    def _fingerprint(self, task: Mapping[str, Any], inputs: Outputs) -> str:
        """What Kubeflow compares to know a task again."""
        container, component = self._container(task), self._component(task)
        what = [
            container["image"],
            container["command"],
            container["args"],
            task.get("inputs", {}).get("parameters", {}),
            {key: (each.name, each.uri) for key, each in sorted(inputs.items())},
            component.get("outputDefinitions", {}),
        ]
        return hashlib.sha256(dumps(what, indent=None).encode()).hexdigest()

    def _given(
        self, task: Mapping[str, Any], inputs: Outputs, uri: str, folder: Path
    ) -> pipeline_spec_pb2.ExecutorInput:
        """What the container is given."""
        given = pipeline_spec_pb2.ExecutorInput()
        for key, value in task.get("inputs", {}).get("parameters", {}).items():
            constant = value["runtimeValue"]["constant"]
            json_format.ParseDict(constant, given.inputs.parameter_values[key])
        for key, each in inputs.items():
            artifact = given.inputs.artifacts[key].artifacts.add(name=each.name, uri=each.uri)
            artifact.type.instance_schema = ""  # as `ToRuntimeArtifact` leaves it
            artifact.metadata.update(dict(each.metadata) | {"display_name": key})
        outputs = self._component(task).get("outputDefinitions", {}).get("artifacts", {})
        for key, declared in outputs.items():
            artifact = given.outputs.artifacts[key].artifacts.add(name=key, uri=f"{uri}/{key}")
            json_format.ParseDict(declared["artifactType"], artifact.type)
            artifact.metadata.update(declared.get("metadata", {}))
        given.outputs.output_file = str(folder / "output" / "output_metadata.json")
        return given

    def _execute(
        self, task: Mapping[str, Any], given: pipeline_spec_pb2.ExecutorInput, folder: Path
    ) -> bool:
        """Run the container's command here; returns whether it succeeded."""
        container = self._container(task)
        message = json_format.MessageToJson(given, indent=None)
        command = [
            part.replace(PLACEHOLDER, message)
            for part in (*container["command"], *container["args"])
        ]
        for artifacts in given.outputs.artifacts.values():  # as the launcher prepares them
            for artifact in artifacts.artifacts:
                self._files(artifact.uri).parent.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "w") as output, self._environment(container) as environment:
            done = subprocess.run(
                [sys.executable if command[0] == "python" else command[0], *command[1:]],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, check=False,
            )  # fmt: skip
        if done.returncode:
            log.warning("a task ended with code %d; its log is %s", done.returncode, output.name)
        return done.returncode == 0

    def _files(self, uri: str) -> Path:
        """Where the launcher keeps the files of a URI."""
        return Path(local_path(uri, str(self._folder)))

    @contextlib.contextmanager
    def _environment(self, container: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        """That of the container: its own, and the launcher's folders."""
        own = {entry["name"]: entry["value"] for entry in container.get("env", ())}
        yield {**os.environ, LAUNCHER_ROOT: str(self._folder), **own}

    def _published(
        self, task: Mapping[str, Any], given: pipeline_spec_pb2.ExecutorInput
    ) -> Outputs:
        """The artifacts of a task as the metadata has them afterwards."""
        report = json_format.Parse(
            Path(given.outputs.output_file).read_text(), pipeline_spec_pb2.ExecutorOutput()
        )
        outputs = {}
        for key, artifacts in given.outputs.artifacts.items():
            (declared,) = artifacts.artifacts
            told = report.artifacts[key].artifacts
            merged = json_format.MessageToDict(declared.metadata)
            uri = declared.uri
            for artifact in told:
                merged |= json_format.MessageToDict(artifact.metadata)
                uri = artifact.uri or uri
            if nothing := [name for name, value in merged.items() if value is None]:
                raise RunError(f"the metadata of {key} has no value for {', '.join(nothing)}")
            self._numbers += 1
            number = len(self._cache()) * 100 + self._numbers
            outputs[key] = Produced(name=str(number), uri=uri, metadata=merged)
        if unknown := report.artifacts.keys() - outputs.keys():
            raise RunError(f"a task reports outputs that it has not: {', '.join(sorted(unknown))}")
        return outputs

    def _cache(self) -> dict[str, Any]:
        path = self._folder / CACHE
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _keep(self, fingerprint: str, outputs: Outputs) -> None:
        cache = self._cache() | {fingerprint: {key: asdict(o) for key, o in outputs.items()}}
        new = self._folder / f"{CACHE}.new"
        new.write_text(dumps(cache))
        new.rename(self._folder / CACHE)
