"""Rules for operations that move values; none lets images mix."""

import math

from robustness.bounds import moves
from robustness.bounds.layers import Layer
from robustness.bounds.rules.node import Node


def reshape(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1)
    node.expect(math.prod(node.output) == math.prod(node.shape(0)))  # the batch stays the batch
    return [moves.Reshape(node.name, node.places, node.output)]


def pad(node: Node) -> list[Layer]:
    paddings = node.value(1).tolist()
    node.expect(len(node.places) == 1 and paddings[0] == [0, 0])
    if node.op.type == "MirrorPad":
        mode = node.op.get_attr("mode").decode()
        return [moves.MirrorPad(node.name, node.places, paddings, mode)]
    filling = float(node.value(2)) if node.op.type == "PadV2" else 0.0
    node.expect(math.isfinite(filling))
    return [moves.Pad(node.name, node.places, paddings, filling)]


def transpose(node: Node) -> list[Layer]:
    order = node.value(1).tolist()
    node.expect(len(node.places) == 1 and order[0] == 0)
    return [moves.Transpose(node.name, node.places, order)]


def tile(node: Node) -> list[Layer]:
    multiples = node.value(1).tolist()
    node.expect(len(node.places) == 1 and multiples[0] == 1)
    return [moves.Tile(node.name, node.places, node.shape(0), multiples[1:])]


def concatenation(node: Node) -> list[Layer]:
    parts = node.op.inputs[:-1]
    along = int(node.value(len(parts))) % (len(node.output) + 1)
    node.expect(along > 0)
    known = [None if node.graph.from_image(each) else node.graph.parameter(each) for each in parts]
    sizes = [node.shape(number)[along - 1] for number in range(len(parts))]
    return [moves.Concatenation(node.name, node.places, along, sizes, known)]


def resize(node: Node) -> list[Layer]:
    names = ("align_corners", "half_pixel_centers")
    how = {name: node.op.get_attr(name) for name in names}
    kinds = {"ResizeBilinear": moves.Bilinear, "ResizeNearestNeighbor": moves.Nearest}
    node.expect(len(node.places) == 1)
    (height, width, _), (high, wide, _) = node.shape(0), node.output
    kind = kinds[node.op.type]
    return [kind(node.name, node.places, (height, width), (high, wide), how)]


def strided_slice(node: Node) -> list[Layer]:
    begins, ends, strides = (node.value(number).tolist() for number in (1, 2, 3))
    node.expect(len(node.places) == 1 and not node.op.get_attr("new_axis_mask"))
    first, last, dots, shrunk = (
        node.op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "shrink_axis")
    )
    rank, slices = len(node.shape(0)) + 1, []
    for i, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bit = 1 << i
        if dots & bit:
            slices += [slice(None)] * (rank - len(begins) + 1)
        elif shrunk & bit:
            slices.append(slice(begin, begin + 1 or None))
        else:
            cut = (None if first & bit else begin, None if last & bit else end, stride)
            slices.append(slice(*cut))
    slices += [slice(None)] * (rank - len(slices))
    batch = slices[0]
    node.expect(batch.start in (None, 0) and batch.stop is None and batch.step in (None, 1))
    return _part(node, slices[1:])


def slice_of(node: Node) -> list[Layer]:
    begins, sizes = (node.value(number).tolist() for number in (1, 2))
    node.expect(len(node.places) == 1 and begins[0] == 0 and sizes[0] == -1)
    ends = [None if size < 0 else begin + size for begin, size in zip(begins, sizes, strict=True)]
    return _part(node, [slice(*cut) for cut in zip(begins[1:], ends[1:], strict=True)])


def split(node: Node) -> list[Layer]:
    """One of the parts into which a tensor is split along an axis."""
    number, axis_at = node.tensor.value_index, {"Split": 0, "SplitV": 2}.get(node.op.type)
    data = 1 if node.op.type == "Split" else 0
    node.expect(len(node.places) == 1)
    shape = node.shape(data)
    given = node.op.get_attr("axis") if axis_at is None else node.value(axis_at)
    axis = int(given) % (len(shape) + 1)
    node.expect(axis > 0)
    sizes = [shape[axis - 1] // len(node.op.outputs)] * len(node.op.outputs)
    if node.op.type == "SplitV":
        sizes = [part.shape[axis] for part in node.op.outputs]
    slices = [slice(None)] * len(shape)
    slices[axis - 1] = slice(sum(sizes[:number]), sum(sizes[: number + 1]))
    return _part(node, slices, data)


def _part(node: Node, slices: list[slice], data: int = 0) -> list[Layer]:
    """The part of an operand that slices of all axes except the batch's cut out."""
    cuts = [cut.indices(size) for cut, size in zip(slices, node.shape(data), strict=True)]
    node.expect(all(step > 0 for _, _, step in cuts))
    kept = tuple(len(range(*cut)) for cut in cuts)
    node.expect(math.prod(kept) == math.prod(node.output) > 0)
    part = moves.Part(node.name, node.places, cuts)
    reshaped = moves.Reshape(node.name, [node.place], node.output)
    return [part] if kept == node.output else [part, reshaped]
