"""Operations of TensorFlow that a network may hold: those that compute, and touch nothing else.

TensorFlow declares its operations in families, a module `gen_FAMILY_ops` each. The rule:

- A family whose operations only compute with what they are given, or with memory of the process
  that they own (variables, lists, random states), is allowed as a whole: `FAMILIES`. What a family
  has gained with a new TensorFlow is shown by a test, which knows them all by name.
- From such a family those are taken away that reach further all the same: `REACH_OUT`.
- From other families a few are named that only compute: `NAMED`.
- Reading and writing checkpoints belongs to a saver, and is allowed there alone: `scan` looks.

Everything else is refused, whether it is known to do harm or is not known at all: files, Python,
other processes, printing, queues, data sets, summaries, compiled programs, operations of libraries.
"""

import functools
import sys

import tensorflow as tf  # noqa: F401  which declares the operations
from tensorflow.python.framework import op_def_registry

FAMILIES = (
    "array", "bitwise", "control_flow", "cudnn_rnn", "functional", "image", "linalg", "list",
    "lookup", "manip", "map", "math", "nn", "parsing", "ragged_array", "ragged_conversion",
    "ragged_math", "random", "random_index_shuffle", "resource_variable", "rnn", "set", "sparse",
    "special_math", "spectral", "state", "stateful_random", "stateless_random",
    "stateless_random_v2", "string", "uniform_quant",
)  # fmt: skip
"""Families that compute."""

REACH_OUT = frozenset({
    "Abort",  # ends the process
    "RemoteCall",
    "ImmutableConst",  # a file of the machine as a tensor
    "InitializeTableFromTextFile", "InitializeTableFromTextFileV2",  # the same, as a table
    "DecodeCompressed",  # unpacks whatever there is to unpack
})  # fmt: skip
"""Operations of these families that do not only compute."""

NAMED = frozenset({
    "Assert",
    "DynamicPartition", "DynamicStitch", "ParallelDynamicStitch",
    "AudioSummary", "AudioSummaryV2", "HistogramSummary", "ImageSummary", "MergeSummary",
    "ScalarSummary", "TensorSummary", "TensorSummaryV2",  # texts, which nobody writes here
    "ShardedFilename",  # puts a name together
})  # fmt: skip
"""Operations of other families that only compute."""

NAMED_KINDS = ("TensorArray", "Stack")
"""How the operations on arrays and stacks of a loop are called, in the family of queues."""

READS = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
"""How a saver reads."""

WRITES = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"})
"""How a saver writes."""


def family(name: str) -> list[str]:
    """The operations that a family declares."""
    suffix = "_v2" if name.endswith("_v2") else ""
    module = f"tensorflow.python.ops.gen_{name.removesuffix('_v2')}_ops{suffix}"
    names = vars(sys.modules[module])
    return [each for each in names if each[0].isupper() and op_def_registry.get(each)]


@functools.cache
def computing() -> frozenset[str]:
    """The operations that only compute."""
    names = {name for each in FAMILIES for name in family(each)}
    kinds = {name for name in family("data_flow") if name.startswith(NAMED_KINDS)}
    return frozenset((names | kinds | NAMED) - REACH_OUT)
