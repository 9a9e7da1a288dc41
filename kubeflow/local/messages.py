"""What a task is given, and what it reports, in the dialect of its platform.

Kubeflow Pipelines gives inputs without their type, and artifacts under the URIs of an object store
whose files lie where its launcher has put them; Vertex AI gives types and URIs. What a task reports
is read strictly.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gauntlet_kubeflow.entry import local_path
from gauntlet_kubeflow.local.outcome import Outputs, Produced
from gauntlet_kubeflow.target import Target
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from foundation.errors import RunError

OUTPUT_FILE = "output_metadata.json"


class Messages:
    """The messages of tasks.

    target: the platform. folder: where Kubeflow's launcher keeps the files of its stores.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folder = folder

    def given(
        self,
        component: Mapping[str, Any],
        values: Mapping[str, Any],
        inputs: Mapping[str, Produced],
        uri: str,
        folder: Path,
    ) -> pipeline_spec_pb2.ExecutorInput:
        """What a container is given. uri: of its outputs. folder: where it reports values."""
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
        on_vertex = self._target is Target.VERTEX
        given.outputs.output_file = (
            f"{uri}/{OUTPUT_FILE}" if on_vertex else str(folder / "output" / OUTPUT_FILE)
        )
        return given

    def _give(self, artifact: Any, key: str, each: Produced) -> None:
        """One input, as the platform describes it."""
        artifact.name, artifact.uri = each.name, each.uri
        artifact.metadata.update(each.metadata)
        if self._target is Target.VERTEX:
            json_format.ParseDict(each.type, artifact.type)
        else:  # as `ToRuntimeArtifact` leaves it
            artifact.type.instance_schema = ""
            artifact.metadata.update({"display_name": key, "store_session_info": "{}"})

    def make_folders(self, given: pipeline_spec_pb2.ExecutorInput) -> None:
        """Make those in which outputs shall lie, as Kubeflow's launcher does."""
        if self._target is Target.VERTEX:
            return
        for artifacts in given.outputs.artifacts.values():
            for artifact in artifacts.artifacts:
                path = Path(local_path(artifact.uri, str(self._folder)))
                path.parent.mkdir(parents=True, exist_ok=True)

    def published(
        self, given: pipeline_spec_pb2.ExecutorInput, new_number: Callable[[], int]
    ) -> Outputs:
        """What a task has made, as the metadata have it afterwards.

        Raises:
            RunError: it reports something else than it has. OSError, ParseError: it reports none.
        """
        report = json_format.Parse(
            read(given.outputs.output_file), pipeline_spec_pb2.ExecutorOutput()
        )
        artifacts = {}
        for key, declared in given.outputs.artifacts.items():
            (made,) = declared.artifacts
            told = json_format.MessageToDict(report.artifacts[key]).get("artifacts", [{}])
            metadata = json_format.MessageToDict(made.metadata) | told[0].get("metadata", {})
            if nothing := [name for name, value in metadata.items() if value is None]:
                raise RunError(f"the metadata of {key} has no value for {', '.join(nothing)}")
            artifacts[key] = Produced(
                name=self.name(new_number()),
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

    def name(self, number: int) -> str:
        """The name of an artifact: on Kubeflow the number in its metadata."""
        on_vertex = self._target is Target.VERTEX
        return f"projects/1/locations/here/artifacts/{number}" if on_vertex else str(number)


def read(path: str) -> str:
    """The text of a file, in a store too."""
    if "://" not in path:
        return Path(path).read_text()
    import tensorflow as tf

    with tf.io.gfile.GFile(path) as file:
        return str(file.read())
