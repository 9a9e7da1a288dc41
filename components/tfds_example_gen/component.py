"""The TfdsExampleGen node: its inputs, as TFX sees them."""

import json
from typing import ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import Channel, ComponentSpec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_artifacts import Examples

from components.tfds_example_gen.executor import Executor


class TfdsExampleGenSpec(ComponentSpec):
    """See `TfdsExampleGen`."""

    PARAMETERS: ClassVar = {
        "dataset": ExecutionParameter(type=str),
        "data_dir": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
        "splits": ExecutionParameter(type=str),
        "shards": ExecutionParameter(type=int),
        "code": ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS: ClassVar = {"examples": ChannelParameter(type=Examples)}


class TfdsExampleGen(BaseBeamComponent):
    """Reads splits of a tfds data set and writes tf.Examples of `id`, `image`, `label` and image
    sizes.

    It has no driver of its own, because Kubeflow runs custom components but no custom drivers; what
    TFX's cache must see is in its parameters.
    """

    SPEC_CLASS = TfdsExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        dataset: str,
        data_dir: str | None,
        splits: dict[str, str],
        shards: int,
        fingerprint: str = "",
        code: str = "",
    ) -> None:
        """Describe what to read.

        Args:
            dataset: name in tfds, such as `mnist`.
            data_dir: where the data lies or goes, see `components.datasets.prepare`. TFX's cache
                sees
                this path too: pass one that stays the same while the data does.
            splits: output split name to tfds split, such as `train[:55000]`.
            shards: files a split, read and written in parallel.
            fingerprint: of the prepared data; other data under the same name is another input.
            code: hash of the code that runs; it tells TFX's cache of edits.
        """
        super().__init__(
            TfdsExampleGenSpec(
                dataset=dataset,
                data_dir=data_dir or "",
                fingerprint=fingerprint,
                splits=json.dumps(splits),
                shards=shards,
                code=code,
                examples=Channel(type=Examples),
            )
        )
