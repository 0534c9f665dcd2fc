"""A model read from its file field by field, so that the file and what is made of it are not both in memory.

Protobuf promises that messages written one after the other are read as one message with the fields of all. So the large
weights are read one by one, and what stands between them as messages of their own.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import onnx

__all__ = ["parsed"]

GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
VARINT, FIXED_64, LENGTH_DELIMITED, FIXED_32 = 0, 1, 2, 5
LARGE = 2**16  # bytes: fields up to here are read with their neighbours


@dataclass
class _Source:
    """A stream that is read once from front to back, and the SHA-256 of what was read."""

    stream: BinaryIO
    size: int
    place: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; ValueError where there are fewer."""
        data = self.stream.read(size) if size <= self.size - self.place else b""
        if len(data) < size:
            raise ValueError(f"cut short, or damaged at byte {self.place}")
        self.digest.update(data)
        self.place += size
        return data

    def varint(self) -> tuple[int, bytes]:
        """A number of up to 64 bits, and the bytes it is written in."""
        written = self.take(1)
        while written[-1] & 0x80:
            if len(written) == 10:
                raise ValueError(f"damaged at byte {self.place}")
            written += self.take(1)
        return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(written)), written


def parsed(stream: BinaryIO) -> tuple[onnx.ModelProto, str]:
    """The model in a stream, and the SHA-256 of all of it; raises ValueError, or what protobuf does, for no model."""
    stream = stream if stream.seekable() else io.BytesIO(stream.read())
    source, model = _Source(stream, stream.seek(0, io.SEEK_END)), onnx.ModelProto()
    stream.seek(0)
    _fill(model, GRAPH, source, source.size)
    return model, source.digest.hexdigest()


def _fill(message: onnx.ModelProto | onnx.GraphProto, apart: int, source: _Source, end: int) -> None:
    """Read a message up to ``end``, field ``apart`` on its own where it is large."""
    together = bytearray()
    while source.place < end:
        tag, written = source.varint()
        size, counted = _content(tag & 7, source)
        if source.place + size > end:
            raise ValueError(f"damaged at byte {source.place}")
        if (tag >> 3, tag & 7) != (apart, LENGTH_DELIMITED) or size <= LARGE:
            together += written + counted + source.take(size)
            continue
        message.MergeFromString(bytes(together))
        together.clear()
        if isinstance(message, onnx.ModelProto):
            message.graph.SetInParent()
            _fill(message.graph, INITIALIZER, source, source.place + size)
        else:
            message.initializer.add().MergeFromString(source.take(size))
    message.MergeFromString(bytes(together))


def _content(kind: int, source: _Source) -> tuple[int, bytes]:
    """How many bytes of content follow, and the bytes that said so, or that were all of it."""
    if kind == VARINT:
        return 0, source.varint()[1]
    if kind == LENGTH_DELIMITED:
        return source.varint()
    if kind in (FIXED_32, FIXED_64):
        return 4 if kind == FIXED_32 else 8, b""
    raise ValueError(f"damaged at byte {source.place}")
