"""A SavedModel that does more than compute is refused before anything of it is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from model_files import write_model
from small_classifier import trained_model
from small_world import CLASSES, SHAPE
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from foundation.errors import DataError
from trainer.models.choice import Wanted
from trainer.models.load import load_model
from trainer.models.operations import REACH_OUT, READS, WRITES, computing
from trainer.models.scan import refuse_operations

HERE = Path(__file__).parent


def saved(folder: Path, act: Callable[[tf.Tensor], Any]) -> Path:
    """A SavedModel whose signature computes, and acts."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        act(x)
        return {"logits": tf.reshape(x, [tf.shape(x)[0], -1])[:, :CLASSES]}

    tf.saved_model.save(module, str(folder), {"serving_default": serve})
    return folder


def deep(act: Callable[[], Any]) -> Callable[[tf.Tensor], Any]:
    """An act in a function in a branch of a loop."""

    @tf.function
    def inner() -> tf.Tensor:
        act()
        return tf.constant(0)

    def body(i: tf.Tensor) -> tf.Tensor:
        return i + 1 + tf.cond(i > 5, lambda: 0, inner)

    return lambda _: tf.while_loop(lambda i: i < 1, body, [tf.constant(0)])


ACTS: dict[str, Callable[[tf.Tensor], Any]] = {
    "WriteFile": lambda _: tf.io.write_file("/tmp/gauntlet-never", "x"),
    "ReadFile": lambda _: tf.io.read_file("/etc/hostname"),
    "MatchingFiles": lambda _: tf.io.matching_files("/etc/*"),
    "PrintV2": lambda x: tf.print(x, output_stream="file:///tmp/gauntlet-never"),
    "EagerPyFunc": lambda x: tf.py_function(lambda y: y, [x], tf.float32),
    "PyFunc": lambda x: tf.numpy_function(lambda y: y, [x], tf.float32),
    "SaveV2": lambda x: tf.raw_ops.SaveV2(
        prefix="/tmp/gauntlet-never", tensor_names=["x"], shape_and_slices=[""], tensors=[x]
    ),
    "RestoreV2": lambda _: tf.raw_ops.RestoreV2(
        prefix="/etc/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "MergeV2Checkpoints": lambda _: tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=["/a"], destination_prefix="/b"
    ),
    "Dataset": lambda _: tf.data.TextLineDataset("/etc/hostname").reduce(0, lambda n, _: n),
    "DecodeProtoV2": lambda _: tf.io.decode_proto(
        [b""], "tensorflow.Example", [], [], descriptor_source="/etc/hostname"
    ),
    "ImmutableConst": lambda _: tf.raw_ops.ImmutableConst(
        dtype=tf.uint8, shape=[1], memory_region_name="/etc/hostname"
    ),
    "Abort": lambda _: tf.raw_ops.Abort(),
}  # fmt: skip


@pytest.mark.parametrize("operation", ACTS)
@pytest.mark.parametrize("text", [False, True], ids=["pb", "pbtxt beside it"])
def test_what_does_more_than_compute_is_refused_by_name(
    tmp_path: Path, operation: str, text: bool
) -> None:
    folder = saved(tmp_path / "model", ACTS[operation])
    if text:  # a loader that took the text first would run it
        as_text(folder / "saved_model.pb", folder / "saved_model.pbtxt")
        harmless = saved(tmp_path / "harmless", lambda _: None)
        shutil.copy(harmless / "saved_model.pb", folder / "saved_model.pb")
    with pytest.raises(DataError, match=rf"{operation} \(in the function .*serve.*--trust"):
        load_model(folder, Wanted(image_shape=SHAPE))


def as_text(binary: Path, text: Path) -> None:
    text.write_text(text_format.MessageToString(SavedModel.FromString(binary.read_bytes())))


def test_functions_of_branches_of_loops_are_read(tmp_path: Path) -> None:
    act = deep(lambda: tf.io.write_file(str(tmp_path / "written"), "x"))
    folder = saved(tmp_path / "model", act)
    with pytest.raises(DataError, match=r"WriteFile \(in the function .*inner"):
        load_model(folder, Wanted(image_shape=SHAPE))
    assert not (tmp_path / "written").exists()


def test_with_trust_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "scale"
    file.write_text("2")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        scale = tf.strings.to_number(tf.io.read_file(str(file)))
        return {"logits": scale * tf.reshape(x, [tf.shape(x)[0], -1])[:, :CLASSES]}

    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": serve})
    model = load_model(tmp_path / "model", Wanted(image_shape=SHAPE, trust=True)).model
    assert np.all(model(tf.ones([1, *SHAPE])) == 2)


def test_what_writes_files_may_remember_by_them_with_trust_too(tmp_path: Path) -> None:
    file = tmp_path / "written"
    folder = saved(tmp_path / "model", lambda _: tf.io.write_file(str(file), "x"))
    with pytest.raises(DataError, match=r"may keep something .*WriteFile"):
        load_model(folder, Wanted(image_shape=SHAPE, trust=True))


def test_what_nobody_calls_is_refused_too(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", lambda _: None)
    changed(folder, lambda content: add_node(content.meta_graphs[0].graph_def.node))
    with pytest.raises(DataError, match=r"ReadFile \(stray\)"):
        load_model(folder, Wanted(image_shape=SHAPE))


def test_an_operation_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", lambda _: None)
    changed(folder, lambda content: add_node(content.meta_graphs[0].graph_def.node, "MyOwnOp"))
    with pytest.raises(DataError, match=r"MyOwnOp \(stray\)"):
        load_model(folder, Wanted(image_shape=SHAPE))


def add_node(nodes: Any, op: str = "ReadFile", name: str = "stray") -> Any:
    node = nodes.add()
    node.op, node.name = op, name
    return node


def changed(folder: Path, change: Callable[[SavedModel], Any]) -> None:
    path = folder / "saved_model.pb"
    content = SavedModel.FromString(path.read_bytes())
    change(content)
    path.write_bytes(content.SerializeToString())


def of_tensorflow_1(folder: Path) -> Path:
    """A SavedModel with its saver in the graph."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, *SHAPE], name="x")
        weights = v1.get_variable("w", [int(np.prod(SHAPE)), CLASSES], use_resource=False)
        y = tf.identity(tf.reshape(x, [-1, int(np.prod(SHAPE))]) @ weights, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"logits": y})
    return folder


def test_the_saver_of_tensorflow_1_reads_and_writes(tmp_path: Path) -> None:
    loaded = load_model(of_tensorflow_1(tmp_path / "old"), Wanted(image_shape=SHAPE))
    assert loaded.model.classes == CLASSES


def reading_writes(graph: Any) -> None:
    """Reading the weights waits for writing them."""
    nodes = {node.name: node for node in graph.graph_def.node}
    nodes[graph.saver_def.restore_op_name].input.append(
        f"^{graph.saver_def.save_tensor_name.partition(':')[0]}"
    )


def output_reads(graph: Any) -> None:
    nodes = {node.name: node for node in graph.graph_def.node}
    nodes["y"].input.append(f"^{graph.saver_def.restore_op_name}")


def loading_writes(graph: Any) -> None:
    save = graph.saver_def.save_tensor_name.partition(":")[0]
    graph.collection_def["saved_model_main_op"].node_list.value.append(save)


@pytest.mark.parametrize(
    ("change", "operation"),
    [(reading_writes, "SaveV2"), (output_reads, "RestoreV2"), (loading_writes, "SaveV2")],
)
def test_a_saver_that_is_used_for_more(
    tmp_path: Path, change: Callable[[Any], None], operation: str
) -> None:
    folder = of_tensorflow_1(tmp_path / "old")
    changed(folder, lambda content: change(content.meta_graphs[0]))
    with pytest.raises(DataError, match=operation):
        refuse_operations(folder)


def test_functions_of_the_saver_that_the_model_calls(tmp_path: Path) -> None:
    folder = write_model("signature", list(trained_model().get_weights()), tmp_path)
    refuse_operations(folder)

    def call_them(content: SavedModel) -> None:
        (graph,) = content.meta_graphs
        names = [f.signature.name for f in graph.graph_def.library.function]
        (restoring,) = [name for name in names if "traced_restore" in name]
        node = add_node(graph.graph_def.library.function[0].node_def, "StatefulPartitionedCall")
        node.attr["f"].func.name = restoring
        node = add_node(graph.graph_def.node, "StatefulPartitionedCall")
        node.attr["f"].func.name = restoring

    changed(folder, call_them)
    with pytest.raises(DataError, match=r"RestoreV2 \(in the function .*traced_restore"):
        refuse_operations(folder)


def test_a_function_from_elsewhere(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", lambda _: None)

    def call(content: SavedModel) -> None:
        node = add_node(content.meta_graphs[0].graph_def.node, "PartitionedCall")
        node.attr["f"].func.name = "somebody_elses"

    changed(folder, call)
    with pytest.raises(DataError, match="PartitionedCall of a function somebody_elses that is not"):
        refuse_operations(folder)


def test_parts_of_a_graph_are_not_passed_over(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", lambda _: None)
    (folder / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(DataError, match="a graph in parts"):
        load_model(folder, Wanted(image_shape=SHAPE))


def test_operations_that_tensorflow_gained_are_looked_at() -> None:
    """A new TensorFlow changes this list; whoever takes it over reads what the new ones do."""
    known = (HERE / "operations.txt").read_text().split()
    assert sorted(computing()) == known


def test_no_operation_that_reaches_out_is_allowed() -> None:
    assert not computing() & (REACH_OUT | READS | WRITES)
    words = ("File", "PyFunc", "Print", "Dataset", "Iterator", "Reader", "Queue", "Write", "Save")
    found = {name for name in computing() if any(word in name for word in words)}
    assert found == {name for name in found if name.startswith("TensorArray")} | {"ShardedFilename"}
