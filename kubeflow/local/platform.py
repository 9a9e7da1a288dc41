"""The platform: it runs the tasks of a specification in the order of their needs, knows again what
was done, and stops what depends on a failure, and nothing else."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.clients.run import TaskState
from gauntlet_kubeflow.clients.watch import EVENTS
from gauntlet_kubeflow.graph import needs_of, order_of
from gauntlet_kubeflow.local.machine import Machine, Processes
from gauntlet_kubeflow.local.messages import Messages
from gauntlet_kubeflow.local.metadata import Metadata, fingerprint_of, import_fingerprint
from gauntlet_kubeflow.local.outcome import Ended, Outputs, Produced
from gauntlet_kubeflow.target import Target
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.locks import LOCK, lock

log = logging.getLogger("gauntlet.kubeflow")

PLACEHOLDER = "{{$}}"
"""What the launcher replaces in a container's arguments by its input, as JSON."""

CANNOT_RUN = 127
"""Exit code of a command that cannot be run, as a shell has it."""


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
        self._spec = spec
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
        self._declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        self._root = spec["defaultPipelineRoot"]
        self._folder = folder.absolute()
        self._machine = machine or Processes()
        self._messages = Messages(self.target, self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def run(self, run_id: str, values: Mapping[str, Any] | None = None) -> dict[str, Ended]:
        """Run all tasks.

        run_id: name of a run that has not been. values: of the pipeline's parameters.

        Returns how each of them ended, in the order in which they ran.

        Raises:
            RunError: another run is under way in the folder.
        """
        what = f"another run is under way in {self._folder}"
        with lock(self._folder / LOCK, what, advice="wait for it, or name another folder"):
            self._metadata = Metadata(self._folder)
            return self._run(run_id, values)

    def _run(self, run_id: str, values: Mapping[str, Any] | None) -> dict[str, Ended]:
        self._values = {
            name: (values or {}).get(name, declared["defaultValue"])
            for name, declared in self._declared.items()
        }
        ended: dict[str, Ended] = {}
        for task in order_of(self._spec):
            before = {ended[need].state for need in needs_of(self._tasks[task])}
            if before & {TaskState.FAILED, TaskState.SKIPPED}:
                ended[task] = Ended(state=TaskState.SKIPPED)
                log.info("%s is skipped: what it needs has failed", task)
                continue
            with phase(task) as step:
                ended[task] = self._ended(task, run_id, ended)
                step.state = EVENTS[ended[task].state]
        return ended

    def _ended(self, name: str, run_id: str, before: Mapping[str, Ended]) -> Ended:
        """Run one task, or know it again."""
        task = self._tasks[name]
        component = self._components[task["componentRef"]["name"]]
        executor = self._executors[component["executorLabel"]]
        values, inputs = self._inputs(task, before)
        if "importer" in executor:
            return self._imported(executor["importer"], component, values)
        fingerprint = fingerprint_of(executor["container"], component, values, inputs)
        caches = task.get("cachingOptions", {}).get("enableCache", False)
        if caches and (known := self._metadata.find(fingerprint)):
            return Ended(state=TaskState.CACHED, outputs=known)
        folder = self._folder / "runs" / run_id / name
        folder.mkdir(parents=True)
        uri = f"{self._root}/{run_id}/{name}"
        given = self._messages.given(component, values, inputs, uri, folder)
        attempts = 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
        ended = self._executed(executor["container"], given, folder / "log.txt", attempts)
        if caches and ended.state is TaskState.DONE:
            self._metadata.keep(fingerprint, ended.outputs)
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
            return Ended(state=TaskState.FAILED, log=output, code=code)
        try:
            outputs = self._messages.published(given, self._metadata.new_number)
            return Ended(state=TaskState.DONE, outputs=outputs, log=output)
        except (RunError, OSError, ValueError, json_format.ParseError) as error:
            with output.open("a") as printed:
                printed.write(f"gauntlet: what the task reports cannot be taken: {error}\n")
            return Ended(state=TaskState.FAILED, log=output)

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
        fingerprint = import_fingerprint(uri)
        known = self._metadata.find(fingerprint)
        if known and not importer.get("reimport"):
            return Ended(state=TaskState.CACHED, outputs=known)
        ((key, declared),) = component["outputDefinitions"]["artifacts"].items()
        name = self._messages.name(self._metadata.new_number())
        made = Produced(name=name, uri=uri, type=declared["artifactType"])
        outputs = Outputs(artifacts={key: made})
        self._metadata.keep(fingerprint, outputs)
        return Ended(state=TaskState.DONE, outputs=outputs)

    def _code(
        self, container: Mapping[str, Any], given: pipeline_spec_pb2.ExecutorInput, output: Path
    ) -> int:
        """Run the container once; returns its exit code."""
        message = json_format.MessageToJson(given, indent=None)
        command = [
            part.replace(PLACEHOLDER, message)
            for part in (*container["command"], *container["args"])
        ]
        self._messages.make_folders(given)
        (output.parent / "output").mkdir(exist_ok=True)
        try:
            code = self._machine.run(container, command, self._folder, output)
        except OSError as error:  # no such program, or too long a command
            with output.open("a") as printed:
                printed.write(f"gauntlet: {command[0]} cannot be run: {error.strerror}\n")
            code = CANNOT_RUN
        if code:
            log.warning("%s ended with code %d", output.parent.name, code)
        return code
