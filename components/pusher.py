"""The push: TFX's Pusher, made to appear at once or not at all, and to see what is being served."""

import dataclasses
import datetime
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
from tfx.utils import io_utils, proto_utils

from components.evaluator.executor import read_explanations
from components.versions import CARD, Card, PushedBy, read_card
from foundation.errors import RunError
from foundation.json import dumps
from foundation.versions import newest_version

STAGING = ".staging-"
"""Prefix of the folders in which a push is prepared; a killed push leaves one."""


class Executor(tfx_pusher.Executor):
    """TFX copies a model file by file into its final folder, so a full disk would leave a part of
    it.

    Here the model goes into a staging folder beside the destination, which is then renamed: on a
    file system that is atomic, on an object store it is a copy. What is left after a failure is
    removed. A model that is the newest version already is not pushed again.
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
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        base = destination.filesystem.base_directory
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        newest = newest_version(base)
        if newest is None or read_card(os.path.join(base, newest)).model != model.uri:
            (blessing,) = input_dict[standard_component_specs.MODEL_BLESSING_KEY]
            run = json.loads(exec_properties.get("custom_config") or "null") or {}
            card = card_of(model, blessing, kind=PushedBy.RUN, run_id=run.get("run_id", ""))
            newest = publish(self.GetModelPath(input_dict), base, card)
        self._MarkPushed(
            pushed, pushed_destination=os.path.join(base, newest), pushed_version=newest
        )


def card_of(model: Artifact, blessing: Artifact, **more: Any) -> Card:
    """The card of a version: the model's artifact, what the gates measured, and how it came
    here."""
    values = {gate.name: gate.value for gate in read_explanations(blessing.uri)}
    return Card(
        model=model.uri,
        model_id=model.id,
        clean=values.get("clean"),
        worst_case=values.get("worst_case"),
        certified=values.get("certified"),
        **more,
    )


def publish(source: str, base: str, card: Card) -> str:
    """Copy an exported model to a new version under `base`, at once or not at all; returns its
    number.

    The number is above all that are there, so a server takes the new version. Two at once get two
    numbers.

    Raises:
        RunError: it could not be written; `base` is as it was.
    """
    staging = os.path.join(base, f"{STAGING}{uuid.uuid4().hex}")
    try:
        io_utils.copy_dir(source, staging)
        fileio.makedirs(os.path.join(staging, os.path.dirname(CARD)))
        pushed_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with fileio.open(os.path.join(staging, CARD), "w") as file:
            file.write(dumps(dataclasses.replace(card, pushed_at=pushed_at).plain()))
        return _rename(staging, base)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"the model could not be pushed to {base}: {error}; nothing was changed there"
        ) from error
    finally:
        if fileio.exists(staging):
            fileio.rmtree(staging)


def _rename(staging: str, base: str) -> str:
    """Move the staged version to the next free number; another push may take it first."""
    while True:
        taken = int(newest_version(base) or 0)
        version = str(max(int(datetime.datetime.now().timestamp()), taken + 1))
        try:
            fileio.rename(staging, os.path.join(base, version))
        except (OSError, tf.errors.OpError):
            if int(newest_version(base) or 0) <= taken:
                raise
        else:
            return version
