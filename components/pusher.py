"""The push: TFX's Pusher, made to appear at once or not at all, and to see what is being served."""

import json
import os
import uuid
from typing import Any

import tensorflow as tf
from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import proto_utils

from robustness.errors import RunError

STAGING = ".staging-"
"""Prefix of the folders in which a push is prepared; a killed push leaves one."""

SOURCE = os.path.join("assets.extra", "source.json")
"""File in a pushed version that names the model artifact it came from."""


class Executor(tfx_pusher.Executor):
    """TFX copies a model file by file into its final folder, so a full disk would leave a part of it.

    Here TFX pushes into a staging folder beside the destination, which is then renamed: on a file system
    that is atomic, on an object store it is a copy. What is left after a failure is removed. A model that
    is the newest version already is not pushed again.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Push when blessed.

        Raises:
            RunError: the model could not be written; the destination is as it was.
        """
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        source = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
        newest = newest_version(base)
        if self.CheckBlessing(input_dict) and newest and source_of(os.path.join(base, newest)) == source:
            self._MarkPushed(pushed, pushed_destination=os.path.join(base, newest), pushed_version=newest)
            return
        staging = os.path.join(base, f"{STAGING}{uuid.uuid4().hex}")
        destination.filesystem.base_directory = staging
        target = {standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)}
        try:
            super().Do(input_dict, output_dict, exec_properties | target)
            if pushed.get_int_custom_property("pushed"):
                self._publish(pushed, staging, base, source)
        except (OSError, tf.errors.OpError) as error:
            raise RunError(f"the model could not be pushed to {base}: {error}; nothing was changed there") from error
        finally:
            if fileio.exists(staging):
                fileio.rmtree(staging)

    def _publish(self, pushed: Artifact, staging: str, base: str, source: str) -> None:
        """Move the staged version to its place, under a number above all that are there."""
        staged = os.path.join(staging, pushed.get_string_custom_property("pushed_version"))
        fileio.makedirs(os.path.join(staged, "assets.extra"))
        with fileio.open(os.path.join(staged, SOURCE), "w") as file:
            file.write(json.dumps({"model": source}))
        version = str(max(int(os.path.basename(staged)), int(newest_version(base) or 0) + 1))
        final = os.path.join(base, version)
        fileio.rename(staged, final)
        self._MarkPushed(pushed, pushed_destination=final, pushed_version=version)


def newest_version(base: str) -> str | None:
    """The version that TensorFlow Serving loads: the highest number among the folders of `base`."""
    names = [name.rstrip("/") for name in fileio.listdir(base)] if fileio.exists(base) else []
    return max((name for name in names if name.isdigit()), key=int, default=None)


def source_of(version: str) -> str | None:
    """URI of the model artifact that a pushed version came from; None when it does not say."""
    path = os.path.join(version, SOURCE)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "r") as file:
        return str(json.loads(file.read())["model"])
