"""A model as the bytes of its file, which are never all in memory: what ``SerializeToString`` gives, in pieces.

A protobuf message is its fields in the order of their numbers; a field that is a message or bytes is a tag, a length
and the content. So a model is what comes before its graph, the graph, and what comes after, and so are a graph and its
initializers, a tensor and its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from onnxprune.external import is_external
from onnxprune.sizes import nbytes
from onnxprune.weights import chunks

__all__ = ["Wire", "wire"]

Framed: TypeAlias = onnx.ModelProto | onnx.GraphProto | onnx.TensorProto

LENGTH_DELIMITED = 2


@dataclass(frozen=True)
class Wire:
    """Bytes to come, and how many: ``parts`` are bytes, and tensors that stand for themselves or their data."""

    size: int
    parts: tuple[bytes | onnx.TensorProto, ...]

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            elif is_external(part):
                yield from chunks(part)
            else:
                yield part.SerializeToString(deterministic=True)


def wire(proto: onnx.ModelProto) -> Wire:
    """The model with all external data inside."""
    initializers = [_tensor(t) for t in proto.graph.initializer]
    return _around(proto, "graph", [_around(proto.graph, "initializer", initializers)])


def _tensor(tensor: onnx.TensorProto) -> Wire:
    if not is_external(tensor):
        return Wire(tensor.ByteSize(), (tensor,))
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    for field in ("external_data", "data_location"):
        bare.ClearField(field)
    return _around(bare, "raw_data", [Wire(nbytes(tensor), (tensor,))])


def _around(message: Framed, field: str, contents: Iterable[Wire]) -> Wire:
    """A message that has these ``contents`` in one of its fields, and of the others what it has."""
    number = message.DESCRIPTOR.fields_by_name[field].number
    sides = type(message)(), type(message)()
    for each, value in message.ListFields():
        if each.number != number:
            _set(sides[each.number > number], each.name, value)
    before, after = (side.SerializeToString(deterministic=True) for side in sides)
    size, parts = len(before) + len(after), list[bytes | onnx.TensorProto]([before])
    for content in contents:
        label = _varint(number << 3 | LENGTH_DELIMITED) + _varint(content.size)
        size += len(label) + content.size
        parts += [label, *content.parts]
    return Wire(size, (*parts, after))


def _set(message: object, name: str, value: object) -> None:
    if hasattr(value, "extend"):
        getattr(message, name).extend(value)
    elif hasattr(value, "CopyFrom"):
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
