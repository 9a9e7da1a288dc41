"""What a compiled node runs in its container: TFX's entry point, with what Kubeflow leaves out put
back.

    python -m gauntlet_kubeflow.entry --files=launcher|uri ARGUMENTS OF TFX'S ENTRY POINT

Kubeflow Pipelines hands over inputs without their type (`ToRuntimeArtifact`, `Schema: ""`, in
backend/src/v2/metadata/client.go up to 2.17.0), which TFX cannot read
(https://github.com/tensorflow/tfx/issues/7768); the declared types are among the arguments. With
`--files=launcher` artifacts are read and written where KFP's launcher has put the inputs and will
fetch the outputs (`LocalPathForURI`, backend/src/v2/component/launcher_v2.go): so a store that
TensorFlow does not know, `minio://` or `s3://`, needs no library and no key in the container.

Exit codes are those of `foundation.errors`; a failure that a user can act on is one line at the
end of the log.
"""

import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.environment import CHANGE_NUMBERS, DEFAULTS, ENVIRONMENT, LEFT_OUT, unset
from foundation.errors import ConfigError, GauntletError
from foundation.identity import check_own_packages
from foundation.versions import STORED_AT
from foundation.whole import write_text

if TYPE_CHECKING:
    from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentInputsSpec, ExecutorInput

COMMAND = ("python", "-m", "gauntlet_kubeflow.entry")

FOLDERS = {"minio://": "minio", "s3://": "s3", "gs://": "gcs"}
"""Where KFP's launcher keeps the files of a store, below the root of the container."""

LAUNCHER_ROOT = "GAUNTLET_LAUNCHER_ROOT"
"""Environment variable with another folder than that root."""

CODE = "GAUNTLET_CODE"
"""Environment variable with the key of the code that a node shall run (`code_run_by`)."""

OTHER_CODE = (
    "holds another version of this project, or of a library beneath it, than the one that compiled "
    "the pipeline; build the image from the same commit and locked packages, or compile where they "
    "are"
)
"""What is wrong with an image, as the end of a sentence."""


class Files(StrEnum):
    """Where a node reads and writes artifacts: at their URIs, or in the launcher's folders."""

    URI = "uri"
    LAUNCHER = "launcher"


def main(arguments: list[str]) -> int:
    """Run a node; returns the exit code of the container."""
    try:
        check_own_packages()
        run(arguments)
    except GauntletError as error:
        sys.stderr.write(f"gauntlet: {error}\n")
        return error.exit_code
    return 0


def run(arguments: list[str]) -> None:
    """Run a node.

    Args:
        arguments: `--files`, and those of TFX's entry point.

    Raises:
        GauntletError: what the node raises.
    """
    settle()
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_entry

    first, *rest = arguments or [""]
    if first not in {f"--files={each}" for each in Files}:
        raise ConfigError(f"expected --files={' or --files='.join(Files)} first, got {first!r}")
    files = Files(first.removeprefix("--files="))
    known, beam = tfx_entry._parse_flags(rest)
    if os.environ.get(CODE, "") not in ("", code_run_by(known.executor_class_path)):
        raise ConfigError(f"the image of this task {OTHER_CODE}")
    try:
        given = json_format.Parse(
            known.json_serialized_invocation_args,
            pipeline_spec_pb2.ExecutorInput(),
            ignore_unknown_fields=True,
        )
    except json_format.ParseError as error:
        raise ConfigError(f"the input of this task is no executor input: {error}") from error
    mended = pipeline_spec_pb2.ExecutorInput()
    mended.CopyFrom(given)
    if known.json_serialized_inputs_spec_args:
        declared = json_format.Parse(
            known.json_serialized_inputs_spec_args, pipeline_spec_pb2.ComponentInputsSpec()
        )
        declare_types(mended, declared)
    if files is Files.LAUNCHER:
        move_to_folders(mended)
    known.json_serialized_invocation_args = json_format.MessageToJson(mended)
    tfx_entry._run_executor(known, beam)
    if files is Files.LAUNCHER:
        give_back_uris(Path(given.outputs.output_file), given)


@unset(CHANGE_NUMBERS)
def code_run_by(executor: str) -> str:
    """A key of what an executor runs, and of a Trainer's function. executor: its class, by path."""
    from foundation.code import code_of

    return code_of(executor.rpartition(".")[0], "trainer.train")


def settle() -> None:
    """Complete the environment, which an image of a user's own or a cluster may have left bare:
    libraries keep files below HOME, and a container need not have one."""
    for name in LEFT_OUT:
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        os.environ["HOME"] = tempfile.mkdtemp(prefix="gauntlet-home-")


def declare_types(given: "ExecutorInput", declared: "ComponentInputsSpec") -> None:
    """Give every input artifact the type that its node declares."""
    for name, artifacts in given.inputs.artifacts.items():
        for artifact in artifacts.artifacts:
            artifact.type.CopyFrom(declared.artifacts[name].artifact_type)


def move_to_folders(given: "ExecutorInput") -> None:
    """Let all artifacts be where the launcher keeps their files; inputs keep their URI as a
    property. It has made the folders in which outputs shall lie; `kfp.local` has not."""
    for side in (given.inputs, given.outputs):
        for artifacts in side.artifacts.values():
            for artifact in artifacts.artifacts:
                folder = local_path(artifact.uri, os.environ.get(LAUNCHER_ROOT, "/"))
                if side is given.inputs and folder != artifact.uri:
                    artifact.metadata[STORED_AT] = artifact.uri
                artifact.uri = folder
    for artifacts in given.outputs.artifacts.values():
        for artifact in artifacts.artifacts:
            Path(artifact.uri).parent.mkdir(parents=True, exist_ok=True)


def local_path(uri: str, root: str) -> str:
    """Where KFP's launcher keeps what lies at a URI; other paths are themselves."""
    for scheme, folder in FOLDERS.items():
        if uri.startswith(scheme):
            return os.path.join(root, folder, uri.removeprefix(scheme))
    return uri


def give_back_uris(output: Path, given: "ExecutorInput") -> None:
    """Let the node's report name the URIs that it was given: where the launcher uploads to."""
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    report: Any = json_format.Parse(output.read_text(), pipeline_spec_pb2.ExecutorOutput())
    for name, artifacts in given.outputs.artifacts.items():
        for told, meant in zip(report.artifacts[name].artifacts, artifacts.artifacts, strict=True):
            told.uri = meant.uri
    write_text(output, json_format.MessageToJson(report))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
