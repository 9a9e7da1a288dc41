"""TFRecord files without TensorFlow: records, their checksums, and a canonical form of examples."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

FRAMING_SIZE = 16
_FIELD_1_BYTES, _FIELD_2_BYTES = 0x0A, 0x12


class BrokenRecord(Exception):
    """A record is cut off or fails its checksum."""


def records(stream: BinaryIO) -> Iterator[bytes]:
    """The data of each record; raises BrokenRecord at the first one that is damaged.

    Framing: length (8 bytes, little endian), its masked CRC-32C (4), data, its masked CRC-32C (4).
    """
    while header := stream.read(12):
        if len(header) < 12 or header[8:] != _masked_crc(header[:8]):
            raise BrokenRecord("has a damaged header")
        (length,) = struct.unpack("<Q", header[:8])
        body = stream.read(length + 4)
        if len(body) < length + 4:
            raise BrokenRecord("is cut off")
        data = body[:length]
        if body[length:] != _masked_crc(data):
            raise BrokenRecord("fails its checksum")
        yield data


def canonical(record: bytes) -> bytes:
    """A serialized `tf.train.Example` with its features sorted; other records as they are.

    Protobuf writes the map of features in an order that changes from process to process, so two
    preparations of the same data differ in their bytes but not in this form. Where a feature is
    there twice, the last one counts, so that their order means something.
    """
    try:
        (features,) = _messages(record)
        entries = sorted(_messages(features))
        twice = len({_name(entry) for entry in entries}) < len(entries)
    except ValueError:
        return record
    return record if twice else b"".join(len(entry).to_bytes(8) + entry for entry in entries)


def _name(entry: bytes) -> bytes:
    """The name of a feature; ValueError where an entry is not one name and one value."""
    name, rest = _field(entry, 0, _FIELD_1_BYTES)
    _, end = _field(entry, rest, _FIELD_2_BYTES)
    if end != len(entry):
        raise ValueError("more than a name and a value")
    return name


def _messages(message: bytes) -> list[bytes]:
    """The values of field 1, when a protobuf message consists of nothing else; else ValueError."""
    values, position = [], 0
    while position < len(message):
        value, position = _field(message, position, _FIELD_1_BYTES)
        values.append(value)
    return values


def _field(message: bytes, position: int, tag: int) -> tuple[bytes, int]:
    """The bytes of the field at `position`, and the position after it; ValueError where it is
    another field."""
    if message[position : position + 1] != bytes([tag]):
        raise ValueError("another field")
    size, position = _varint(message, position + 1)
    if position + size > len(message):
        raise ValueError("field is longer than its message")
    return message[position : position + size], position + size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The base-128 integer at `position`, and the position after it."""
    value = 0
    for shift, byte in enumerate(message[position : position + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    raise ValueError("integer is cut off")


def _masked_crc(data: bytes) -> bytes:
    """TFRecord's CRC-32C: rotated and offset, because a CRC of data with CRCs inside is weak."""
    import google_crc32c  # in C; comes with apache-beam[gcp]

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
