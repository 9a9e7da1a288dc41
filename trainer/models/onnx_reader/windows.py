"""Windows over images: their sizes, strides and pads, as ONNX has them and as TensorFlow does."""

from collections.abc import Sequence

from trainer.models.onnx_reader.values import Node, Value

Pads = list[tuple[int, int]]
"""Of height and width: before, behind."""


def windows_of(node: Node, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Height and width that a window reaches over."""
    if len(kernel) != 2 or len(dilations) != 2 or min(*kernel, *dilations) < 1:
        raise node.refusal(f"expected windows of height and width, got {list(kernel)}")
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


def strides_of(node: Node) -> list[int]:
    strides = node.attribute("strides", [1, 1])
    if len(strides) != 2 or min(strides) < 1:
        raise node.refusal(f"expected strides of height and width, got {strides}")
    return strides


def pads_of(node: Node, sizes: Sequence[int], windows: Sequence[int], strides: list[int]) -> Pads:
    auto = node.expect_attribute("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    given = node.attribute("pads", [0, 0, 0, 0])
    expect_moderate(node, sizes, windows, given)
    if auto == "NOTSET":
        return [(given[0], given[2]), (given[1], given[3])]
    if auto == "VALID":
        return [(0, 0), (0, 0)]
    upper = same_pads(sizes, windows, strides)
    return upper if auto == "SAME_UPPER" else [(behind, before) for before, behind in upper]


def expect_moderate(
    node: Node, sizes: Sequence[int], windows: Sequence[int], pads: Sequence[int]
) -> None:
    """That no number in the file makes more memory than images of that size would."""
    most = 4 * max(sizes) + 64
    if len(pads) != 4 or min(pads) < 0 or max(*pads, *windows) > most:
        raise node.refusal(
            f"expected four pads from 0 on, and windows of the size of the images {sizes}, got "
            f"pads {pads} and windows {list(windows)}"
        )


def same_pads(sizes: Sequence[int], windows: Sequence[int], strides: Sequence[int]) -> Pads:
    """What TensorFlow pads for 'SAME'."""
    triples = zip(sizes, windows, strides, strict=True)
    totals = [max((-(-size // s) - 1) * s + w - size, 0) for size, w, s in triples]
    return [(total // 2, total - total // 2) for total in totals]


def padding_of(pads: Pads, same: Pads) -> str | list[list[int]]:
    """The simplest way to tell TensorFlow of pads."""
    if not any(map(any, pads)):
        return "VALID"
    return "SAME" if pads == same else [[0, 0], *map(list, pads), [0, 0]]


def height_and_width(node: Node, image: Value) -> list[int]:
    _, height, width, _ = image.tensor.shape
    if height is None or width is None:
        raise node.refusal("expected images of a known height and width")
    return [height, width]
