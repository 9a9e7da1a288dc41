"""Runs a compiled specification on this machine, task by task, as the platforms do.

What a cluster would do with a specification is seen without one: each task is a process, or a
container, with exactly the command, arguments and environment of the specification, and it is given
what its platform gives. Kubeflow Pipelines gives inputs without their type, and artifacts under the
URIs of an object store whose files lie where its launcher has put them; Vertex AI gives types and
URIs. What a task reports is read strictly. A task that fails stops those that depend on it, and no
other.

Follows backend/src/v2 of Kubeflow Pipelines 2.0.5 to 2.17.0: `driver/driver.go` (inputs,
fingerprint), `component/launcher_v2.go` (placeholders, `LocalPathForURI`, `mergeRuntimeArtifacts`),
`component/importer_launcher.go`, `metadata/client.go` (`ToRuntimeArtifact`).
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from gauntlet_kubeflow.entry import LAUNCHER_ROOT, local_path
from gauntlet_kubeflow.target import Target
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from foundation import events
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.json import dumps

log = logging.getLogger("gauntlet.kubeflow")

PLACEHOLDER = "{{$}}"
"""What the launcher replaces in a container's arguments by its input, as JSON."""

CACHE = "cache.json"
"""File in the folder: the outputs of tasks that were done, by their fingerprint."""

OUTPUT_FILE = "output_metadata.json"


class State(StrEnum):
    """How a task ended."""

    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"


SHOWN: dict[State, events.State] = {
    State.DONE: "finished",
    State.CACHED: "cached",
    State.FAILED: "failed",
}
"""How the end of a task that began is shown."""


@dataclass(frozen=True, kw_only=True)
class Produced:
    """An artifact that a task has made. name: as the platform's metadata name it."""

    name: str
    uri: str
    type: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a task has made: artifacts and values, by the names of its outputs."""

    artifacts: dict[str, Produced] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended, and what it has made. code: of its last attempt."""

    state: State
    outputs: Outputs = field(default_factory=Outputs)
    log: Path | None = None
    code: int = 0


class Machine(Protocol):
    """What runs the command of a container; see `Processes`."""

    def run(
        self, container: Mapping[str, Any], command: Sequence[str], folder: Path, output: Path
    ) -> int:
        """Run it to its end; returns its exit code.

        container: as the specification has it. command: its command and arguments, without
        placeholders. folder: where the platform's files are. output: file for what it prints.
        """


class Processes:
    """Runs commands in this environment: for a pipeline of this very version of the code."""

    def run(
        self, container: Mapping[str, Any], command: Sequence[str], folder: Path, output: Path
    ) -> int:
        """See `Machine`."""
        own = {entry["name"]: entry["value"] for entry in container.get("env", ())}
        first, *rest = command
        with output.open("a") as printed:
            return subprocess.run(
                [sys.executable if first == "python" else first, *rest],
                cwd=output.parent, env={**os.environ, LAUNCHER_ROOT: str(folder), **own},
                stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, check=False,
            ).returncode  # fmt: skip


def volumes_of(compiled: Mapping[str, Any]) -> dict[str, str]:
    """The volumes that the containers of a compiled pipeline mount: paths in them, by claim."""
    executors = (
        compiled.get("platforms", {})
        .get("kubernetes", {})
        .get("deploymentSpec", {})
        .get("executors", {})
    )
    mounts = [mount for each in executors.values() for mount in each.get("pvcMount", ())]
    return {mount["constant"]: mount["mountPath"] for mount in mounts}


class LocalPlatform:
    """The object store, the metadata and the machines of a platform, in a folder.

    Args:
        compiled: what `gauntlet compile` wrote: a specification, or a job of Vertex AI.
        folder: where everything is kept: the files of Kubeflow's store, logs, and the cache.
        machine: what runs the containers.

    Raises:
        ConfigError: it is neither.
    """

    def __init__(
        self, compiled: Mapping[str, Any], folder: Path, machine: Machine | None = None
    ) -> None:
        self.target = Target.VERTEX if "pipelineSpec" in compiled else Target.KFP_V2
        spec = compiled.get("pipelineSpec", compiled)
        if spec.get("schemaVersion") != "2.1.0" or "root" not in spec:
            raise ConfigError(
                "expected a pipeline that `gauntlet compile` wrote, of schema 2.1.0, got "
                f"{spec.get('schemaVersion')}"
            )
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
        self._declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        self._root = spec["defaultPipelineRoot"]
        self._folder = folder.absolute()
        self._machine = machine or Processes()
        self._known: dict[str, Outputs] = {}
        self._folder.mkdir(parents=True, exist_ok=True)

    def run(self, run_id: str, values: Mapping[str, Any] | None = None) -> dict[str, Ended]:
        """Run all tasks.

        run_id: name of a run that has not been. values: of the pipeline's parameters.

        Returns how each of them ended, in the order in which they ran.

        Raises:
            RunError: another run is under way in the folder.
        """
        try:
            with FileLock(self._folder / ".lock", timeout=0):
                self._known = self._read_cache()
                return self._run(run_id, values)
        except Timeout as error:
            raise RunError(
                f"another run is under way in {self._folder}; wait for it, or name another folder"
            ) from error

    def _run(self, run_id: str, values: Mapping[str, Any] | None) -> dict[str, Ended]:
        self._values = {
            name: (values or {}).get(name, declared["defaultValue"])
            for name, declared in self._declared.items()
        }
        ended: dict[str, Ended] = {}
        for task in self.order():
            if any(
                ended[need].state in (State.FAILED, State.SKIPPED) for need in self._needs(task)
            ):
                ended[task] = Ended(state=State.SKIPPED)
                log.info("%s is skipped: what it needs has failed", task)
                continue
            with phase(task) as step:
                ended[task] = self._ended(task, run_id, ended)
                step.state = SHOWN[ended[task].state]
        return ended

    def order(self) -> list[str]:
        """The tasks, each after those that it needs; the same order every time."""
        sorter = TopologicalSorter(
            {name: sorted(self._needs(name)) for name in sorted(self._tasks)}
        )
        return list(sorter.static_order())

    def _needs(self, name: str) -> set[str]:
        task = self._tasks[name]
        inputs = task.get("inputs", {})
        artifacts = [each["taskOutputArtifact"] for each in inputs.get("artifacts", {}).values()]
        values = [each.get("taskOutputParameter") for each in inputs.get("parameters", {}).values()]
        producers = {each["producerTask"] for each in (*artifacts, *values) if each}
        return {*task.get("dependentTasks", ()), *producers}

    def _ended(self, name: str, run_id: str, before: Mapping[str, Ended]) -> Ended:
        """Run one task, or know it again."""
        task = self._tasks[name]
        component = self._components[task["componentRef"]["name"]]
        executor = self._executors[component["executorLabel"]]
        values, inputs = self._inputs(task, before)
        if "importer" in executor:
            return self._imported(executor["importer"], component, values)
        fingerprint = self._fingerprint(executor["container"], component, values, inputs)
        caches = task.get("cachingOptions", {}).get("enableCache", False)
        if caches and fingerprint in self._known:
            return Ended(state=State.CACHED, outputs=self._known[fingerprint])
        folder = self._folder / "runs" / run_id / name
        folder.mkdir(parents=True)
        given = self._given(component, values, inputs, f"{self._root}/{run_id}/{name}", folder)
        attempts = 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
        ended = self._executed(executor["container"], given, folder / "log.txt", attempts)
        if caches and ended.state is State.DONE:
            self._keep(fingerprint, ended.outputs)
        return ended

    def _executed(
        self,
        container: Mapping[str, Any],
        given: pipeline_spec_pb2.ExecutorInput,
        output: Path,
        attempts: int,
    ) -> Ended:
        """Run a container until it succeeds, so many times at most, and take what it reports."""
        for _ in range(attempts):
            code = self._code(container, given, output)
            if code == 0:
                break
        if code:
            return Ended(state=State.FAILED, log=output, code=code)
        try:
            return Ended(state=State.DONE, outputs=self._published(given), log=output)
        except (RunError, OSError, json_format.ParseError) as error:
            with output.open("a") as printed:
                printed.write(f"gauntlet: what the task reports cannot be taken: {error}\n")
            return Ended(state=State.FAILED, log=output)

    def _inputs(
        self, task: Mapping[str, Any], before: Mapping[str, Ended]
    ) -> tuple[dict[str, Any], dict[str, Produced]]:
        """Values and artifacts that a task is given, by input."""
        values = {}
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if answer := source.get("taskOutputParameter"):
                producer = before[answer["producerTask"]].outputs
                values[key] = producer.values[answer["outputParameterKey"]]
            elif name := source.get("componentInputParameter"):
                values[key] = self._values[name]
            else:
                values[key] = source["runtimeValue"]["constant"]
        artifacts = {}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            made = source["taskOutputArtifact"]
            artifacts[key] = before[made["producerTask"]].outputs.artifacts[
                made["outputArtifactKey"]
            ]
        return values, artifacts

    def _imported(
        self, importer: Mapping[str, Any], component: Mapping[str, Any], values: Any
    ) -> Ended:
        """What an importer does: it makes an artifact of a URI, a known one unless it shall not."""
        uri = values[importer["artifactUri"]["runtimeParameter"]]
        fingerprint = hashlib.sha256(f"import {uri}".encode()).hexdigest()
        if not importer.get("reimport") and fingerprint in self._known:
            return Ended(state=State.CACHED, outputs=self._known[fingerprint])
        ((key, declared),) = component["outputDefinitions"]["artifacts"].items()
        made = Produced(name=self._new_name(), uri=uri, type=declared["artifactType"])
        outputs = Outputs(artifacts={key: made})
        self._keep(fingerprint, outputs)
        return Ended(state=State.DONE, outputs=outputs)

    def _fingerprint(
        self,
        container: Mapping[str, Any],
        component: Mapping[str, Any],
        values: Mapping[str, Any],
        inputs: Mapping[str, Produced],
    ) -> str:
        """What Kubeflow compares to know a task again."""
        what = [
            container["image"],
            container["command"],
            container["args"],
            dict(sorted(values.items())),
            {key: each.name for key, each in sorted(inputs.items())},
            component.get("outputDefinitions", {}),
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _given(
        self,
        component: Mapping[str, Any],
        values: Mapping[str, Any],
        inputs: Mapping[str, Produced],
        uri: str,
        folder: Path,
    ) -> pipeline_spec_pb2.ExecutorInput:
        """What the container is given."""
        given = pipeline_spec_pb2.ExecutorInput()
        for key, value in values.items():
            json_format.ParseDict(value, given.inputs.parameter_values[key])
        for key, each in inputs.items():
            self._give(given.inputs.artifacts[key].artifacts.add(), key, each)
        outputs = component.get("outputDefinitions", {})
        for key, declared in outputs.get("artifacts", {}).items():
            artifact = given.outputs.artifacts[key].artifacts.add(name=key, uri=f"{uri}/{key}")
            json_format.ParseDict(declared["artifactType"], artifact.type)
            artifact.metadata.update(declared.get("metadata", {}))
        for key in outputs.get("parameters", {}):
            given.outputs.parameters[key].output_file = str(folder / "values" / key)
        on_vertex = self.target is Target.VERTEX
        given.outputs.output_file = (
            f"{uri}/{OUTPUT_FILE}" if on_vertex else str(folder / "output" / OUTPUT_FILE)
        )
        return given

    def _give(self, artifact: Any, key: str, each: Produced) -> None:
        """One input, as the platform describes it."""
        artifact.name, artifact.uri = each.name, each.uri
        artifact.metadata.update(each.metadata)
        if self.target is Target.VERTEX:
            json_format.ParseDict(each.type, artifact.type)
        else:  # as `ToRuntimeArtifact` leaves it
            artifact.type.instance_schema = ""
            artifact.metadata.update({"display_name": key, "store_session_info": "{}"})

    def _code(
        self, container: Mapping[str, Any], given: pipeline_spec_pb2.ExecutorInput, output: Path
    ) -> int:
        """Run the container once; returns its exit code."""
        message = json_format.MessageToJson(given, indent=None)
        command = [
            part.replace(PLACEHOLDER, message)
            for part in (*container["command"], *container["args"])
        ]
        if self.target is Target.KFP_V2:  # as the launcher prepares them
            for artifacts in given.outputs.artifacts.values():
                for artifact in artifacts.artifacts:
                    self._files(artifact.uri).parent.mkdir(parents=True, exist_ok=True)
        (output.parent / "output").mkdir(exist_ok=True)
        code = self._machine.run(container, command, self._folder, output)
        if code:
            log.warning("a task ended with code %d; its log is %s", code, output)
        return code

    def _files(self, uri: str) -> Path:
        """Where the launcher keeps the files of a URI."""
        return Path(local_path(uri, str(self._folder)))

    def _published(self, given: pipeline_spec_pb2.ExecutorInput) -> Outputs:
        """What a task has made, as the metadata have it afterwards."""
        report = json_format.Parse(
            self._read(given.outputs.output_file), pipeline_spec_pb2.ExecutorOutput()
        )
        artifacts = {}
        for key, declared in given.outputs.artifacts.items():
            (made,) = declared.artifacts
            told = json_format.MessageToDict(report.artifacts[key]).get("artifacts", [{}])
            metadata = json_format.MessageToDict(made.metadata) | told[0].get("metadata", {})
            if nothing := [name for name, value in metadata.items() if value is None]:
                raise RunError(f"the metadata of {key} has no value for {', '.join(nothing)}")
            artifacts[key] = Produced(
                name=self._new_name(),
                uri=told[0].get("uri") or made.uri,
                type=json_format.MessageToDict(made.type),
                metadata=metadata,
            )
        values = {
            key: json_format.MessageToDict(value) for key, value in report.parameter_values.items()
        }
        missing = given.outputs.parameters.keys() - values.keys()
        unknown = (report.artifacts.keys() - artifacts.keys()) | (
            values.keys() - given.outputs.parameters.keys()
        )
        if missing or unknown:
            raise RunError(
                f"a task reports outputs that it has not ({', '.join(sorted(unknown)) or 'none'}), "
                f"or leaves out some ({', '.join(sorted(missing)) or 'none'})"
            )
        return Outputs(artifacts=artifacts, values=values)

    def _read(self, path: str) -> str:
        if "://" not in path:
            return Path(path).read_text()
        import tensorflow as tf

        with tf.io.gfile.GFile(path) as file:
            return str(file.read())

    def _new_name(self) -> str:
        """The name of a new artifact: on Kubeflow the number in its metadata."""
        counter = self._folder / "artifacts.count"
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(number))
        on_vertex = self.target is Target.VERTEX
        return f"projects/1/locations/here/artifacts/{number}" if on_vertex else str(number)

    def _read_cache(self) -> dict[str, Outputs]:
        path = self._folder / CACHE
        kept = json.loads(path.read_text()) if path.exists() else {}
        return {
            fingerprint: Outputs(
                artifacts={key: Produced(**each) for key, each in outputs["artifacts"].items()},
                values=outputs["values"],
            )
            for fingerprint, outputs in kept.items()
        }

    def _keep(self, fingerprint: str, outputs: Outputs) -> None:
        self._known[fingerprint] = outputs
        new = self._folder / f"{CACHE}.new"
        new.write_text(dumps({name: asdict(each) for name, each in self._known.items()}))
        new.rename(self._folder / CACHE)
