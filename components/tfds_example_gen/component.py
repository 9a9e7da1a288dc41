"""The TfdsExampleGen node: its inputs, as TFX sees them."""

from google.protobuf import struct_pb2
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2

from components.tfds_example_gen.executor import Executor


class TfdsExampleGen(QueryBasedExampleGen):
    """Reads splits of a tfds data set and writes tf.Examples of `id`, `image`, `label` and image sizes.

    It is query-based, the query being a tfds split such as `train[:55000]`, because Kubeflow runs
    custom query-based generators but no custom drivers.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, dataset: str, data_dir: str | None, splits: dict[str, str], fingerprint: str = "") -> None:
        """Describe what to read.

        Args:
            dataset: name in tfds, such as `mnist`.
            data_dir: where the data lies or goes, see `components.datasets.prepare`.
            splits: output split name to tfds split.
            fingerprint: of the prepared data; other data under the same name is another input, and
                TFX's cache must see that.
        """
        source = struct_pb2.Struct()
        source.update({"dataset": dataset, "data_dir": data_dir or "", "fingerprint": fingerprint})
        custom_config = example_gen_pb2.CustomConfig()
        custom_config.custom_config.Pack(source)
        wanted = [example_gen_pb2.Input.Split(name=name, pattern=pattern) for name, pattern in splits.items()]
        super().__init__(input_config=example_gen_pb2.Input(splits=wanted), custom_config=custom_config)
