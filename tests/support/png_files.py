"""PNG files byte by byte, as no encoder writes them: heads that lie, chunks out of place, bombs."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type: grey, RGB, palette, grey and RGB with alpha."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def head(height: int, width: int, bits: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return chunk(b"IHDR", fields)


def png(
    height: int,
    width: int,
    pixels: bytes | None = None,
    bits: int = 8,
    colour: int = 0,
    more: bytes = b"",
) -> bytes:
    """A PNG without interlacing. pixels: row after row; zeros without. more: chunks before them."""
    row = (width * CHANNELS[colour] * bits + 7) // 8
    content = bytes(row * height) if pixels is None else pixels
    rows = b"".join(b"\0" + content[row * y : row * (y + 1)] for y in range(height))
    return (
        SIGNATURE
        + head(height, width, bits, colour)
        + more
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def bomb(side: int = 23_000, bits: int = 1, colour: int = 0) -> bytes:
    """A whole image of zeros in a file of tens of kilobytes; a pixel is a byte once decoded."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (side * CHANNELS[colour] * bits + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    parts = [head(side, side, bits, colour), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)


def palette(*colours: tuple[int, int, int]) -> bytes:
    return chunk(b"PLTE", bytes(value for colour in colours for value in colour))


PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""Of an interlaced PNG: first column, first row, and the steps to the next ones."""


def interlaced(height: int, width: int, pixels: bytes) -> bytes:
    """A grey PNG, interlaced."""
    rows = b""
    for left, top, right, down in PASSES:
        for y in range(top, height, down):
            row = pixels[width * y : width * (y + 1)][left::right]
            rows += b"\0" + row if row else b""
    parts = [head(height, width, interlaced=1), chunk(b"IDAT", zlib.compress(rows))]
    return SIGNATURE + b"".join(parts) + chunk(b"IEND", b"")
