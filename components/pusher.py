"""The push: TFX's Pusher, made to appear at once or not at all."""

import os
from typing import Any

import tensorflow as tf
from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import proto_utils

from robustness.errors import RunError


class Executor(tfx_pusher.Executor):
    """TFX copies a model file by file into its final folder, so a full disk would leave a part of it.

    Here TFX pushes into a staging folder beside the destination, which is then renamed: on one file
    system that is atomic. What is left after a failure is removed.
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
        staging = os.path.join(base, f".staging-{os.getpid()}")
        destination.filesystem.base_directory = staging
        staged = {
            **exec_properties,
            standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination),
        }
        try:
            super().Do(input_dict, output_dict, staged)
            pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
            if pushed.get_int_custom_property("pushed"):
                version = pushed.get_string_custom_property("pushed_version")
                final = os.path.join(base, version)
                fileio.rename(os.path.join(staging, version), final)
                pushed.set_string_custom_property("pushed_destination", final)
        except (OSError, tf.errors.OpError) as error:
            raise RunError(f"the model could not be pushed to {base}: {error}; nothing was changed there") from error
        finally:
            if fileio.exists(staging):
                fileio.rmtree(staging)
