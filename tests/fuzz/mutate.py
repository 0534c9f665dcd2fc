"""Damage to files: to their bytes, and to the fields of a model, where it goes deeper than bytes would."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Rng: TypeAlias = np.random.Generator

NUMBERS = (0, 1, -1, 2, 3, 4, 7, 8, 16, 255, 65536, 2**20, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e-45, 1e38, 1e300, float("nan"), float("inf"), float("-inf"))
STRINGS = [*" x y If Loop Scan Constant Identity ai.onnx com.microsoft value to axis group perm -1".split(" "),
           "../../etc/passwd", "/etc/passwd", "\x00", "n" * 5000, "ünï", "9" * 30]  # fmt: skip
LINES = """macs = '0%'|ratio = 2|seed = -1|seed = 1e99|[gate]|max_drop = nan|[[pass]]|use = 'x'|threads = 0|schema = 2
calib = ''|calib = '/'|keep = ['(']|align = 0|min = 99999999999999|heal = 3|[shapes]|x = [1, 1, 1, 99999]|'' = 1
[[target]]|use = 'host'|macs = '1e400'""".replace("\n", "|").split("|")


def damaged(path: Path, rng: Rng) -> bytes:
    """The bytes of a file, damaged in one way or two."""
    data = path.read_bytes()
    for _ in range(pick(rng, (1, 1, 1, 2))):
        data = pick(rng, WAYS.get(path.suffix, (in_bytes,)))(data, rng)
    return data


def pick(rng: Rng, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def place(data: bytes, rng: Rng) -> int:
    return int(rng.integers(len(data) + 1))


# -- bytes ---------------------------------------------------------------------------------------------------------


def in_bytes(data: bytes, rng: Rng) -> bytes:
    return bytes(pick(rng, (flipped, cut_off, without, repeated, spliced, overwritten, inserted))(data, rng))


def flipped(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut_off(data: bytes, rng: Rng) -> bytes:
    return data[: place(data, rng)]


def without(data: bytes, rng: Rng) -> bytes:
    start = place(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 64)) :]


def repeated(data: bytes, rng: Rng) -> bytes:
    start, length = place(data, rng), int(rng.integers(1, 256))
    return data[:start] + data[start : start + length] * int(rng.integers(2, 5)) + data[start + length :]


def spliced(data: bytes, rng: Rng) -> bytes:
    here, there = place(data, rng), place(data, rng)
    return data[:here] + data[there : there + int(rng.integers(1, 512))] + data[here:]


def overwritten(data: bytes, rng: Rng) -> bytes:
    start, length = place(data, rng), int(rng.integers(1, 16))
    return data[:start] + pick(rng, (b"\x00", b"\xff", b"\x7f", b"\x80")) * length + data[start + length :]


def inserted(data: bytes, rng: Rng) -> bytes:
    start = place(data, rng)
    return data[:start] + rng.bytes(int(rng.integers(1, 16))) + data[start:]


# -- fields of a model ---------------------------------------------------------------------------------------------


def in_fields(data: bytes, rng: Rng) -> bytes:
    """A few fields of a model; its bytes where there is no model any more."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # damaged before
        return in_bytes(data, rng)
    for _ in range(pick(rng, (1, 1, 1, 2, 3))):
        message = pick(rng, list(_messages(model)))
        field = _field(message, rng)
        (_in_list if field.is_repeated else _in_single)(message, field, rng, model)
    return bytes(model.SerializeToString())


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner)


def _field(message: Message, rng: Rng) -> FieldDescriptor:
    """Mostly a field that is there, at times one that is not."""
    held = [field for field, _ in message.ListFields()]
    return pick(rng, held if held and rng.random() < 0.8 else message.DESCRIPTOR.fields)


def _in_single(message: Message, field: FieldDescriptor, rng: Rng, model: Message) -> None:
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.message_type is not None:
        alike = [m for m in _messages(model) if m.DESCRIPTOR is field.message_type]
        if alike:
            getattr(message, field.name).CopyFrom(_twin(pick(rng, alike)))
        else:
            getattr(message, field.name).SetInParent()
    else:
        _assign(lambda value: setattr(message, field.name, value), field, getattr(message, field.name), rng, model)


def _in_list(message: Message, field: FieldDescriptor, rng: Rng, model: Message) -> None:
    values = getattr(message, field.name)
    alike = [m for m in _messages(model) if m.DESCRIPTOR is field.message_type] if field.message_type else []
    what = pick(rng, ("remove", "repeat", "change", "change", "change", "add")) if len(values) else "add"
    index = int(rng.integers(max(len(values), 1)))
    if what == "remove":
        del values[index]
    elif field.message_type is not None:
        new = _twin(values[index] if what == "repeat" else pick(rng, alike)) if alike else None
        target = values[index] if what == "change" else values.add()
        if new is not None:
            target.CopyFrom(new)
    elif what == "repeat":
        values.append(values[index])
    elif what == "add":
        _assign(values.append, field, 0, rng, model)
    else:
        _assign(lambda value: values.__setitem__(index, value), field, values[index], rng, model)


def _twin(message: Message) -> Message:
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def _assign(put: Callable[[Any], None], field: FieldDescriptor, old: Any, rng: Rng, model: Message) -> None:
    """Another value of the field's type; one that is out of its range leaves it as it is."""
    kinds = {
        FieldDescriptor.CPPTYPE_STRING: lambda: _text(field, old, rng, model),
        FieldDescriptor.CPPTYPE_FLOAT: lambda: pick(rng, FLOATS),
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: pick(rng, FLOATS),
        FieldDescriptor.CPPTYPE_ENUM: lambda: int(rng.integers(0, 16)),
    }
    try:
        put(kinds.get(field.cpp_type, lambda: _number(old, rng))())
    except (ValueError, TypeError):
        return


def _number(old: Any, rng: Rng) -> int:
    near = (int(old) + 1, int(old) - 1, int(old) * 2, -int(old), int(rng.integers(30)))
    return int(pick(rng, near if rng.random() < 0.5 else NUMBERS))


def _text(field: FieldDescriptor, old: Any, rng: Rng, model: Message) -> str | bytes:
    if field.type == FieldDescriptor.TYPE_BYTES:
        data = old if isinstance(old, bytes) else b"\x00" * 8
        return bytes(pick(rng, (in_bytes, cut_off, lambda d, r: b"", lambda d, r: d + d))(data, rng))
    held = [v for m in _messages(model) for f, v in m.ListFields() if isinstance(v, str)]
    held += [n for m in _messages(model) if isinstance(m, onnx.NodeProto) for n in (*m.input, *m.output)]
    return str(pick(rng, held if held and rng.random() < 0.6 else STRINGS))


# -- other files ---------------------------------------------------------------------------------------------------


def in_lines(data: bytes, rng: Rng) -> bytes:
    """A text with lines that are gone, moved, or another's."""
    lines = data.decode(errors="replace").split("\n")
    index = int(rng.integers(len(lines)))
    new = pick(rng, ([], [lines[index]] * 2, [pick(rng, LINES)], [pick(rng, lines)], [lines[index], pick(rng, LINES)]))
    lines[index : index + 1] = new
    return "\n".join(lines).encode()


def in_arrays(data: bytes, rng: Rng) -> bytes:
    """An archive of arrays in which one has another name, shape, type or value; its bytes where it is none any more."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception:  # damaged before
        return in_bytes(data, rng)
    name = pick(rng, sorted(arrays) or ["x"])
    array = arrays.pop(name, np.zeros(3))
    changes: tuple[Callable[[], object], ...] = (
        lambda: arrays.update({pick(rng, ("", "y", "../x", "labels")): array}),
        lambda: arrays.update({name: array[: int(rng.integers(3))] if array.ndim else array}),
        lambda: arrays.update({name: array.astype(pick(rng, ("f8", "i8", "?", "U5", "f2", "c8", "M8[s]")))}),
        lambda: arrays.update({name: np.full_like(array, pick(rng, (0, 1, 127)))}),
        lambda: arrays.update({name: np.where(rng.random(array.shape) < 0.1, np.nan, array)}),
        lambda: arrays.update({name: array[..., None]}),
        lambda: arrays.update({name: array.reshape(-1)}),
        lambda: arrays.update({name: array.T}),
        lambda: None,
    )
    try:
        pick(rng, changes)()
    except (ValueError, TypeError):
        arrays[name] = array
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


WAYS: dict[str, tuple[Callable[[bytes, Rng], bytes], ...]] = {
    ".onnx": (in_fields, in_fields, in_bytes),
    ".toml": (in_lines, in_lines, in_bytes),
    ".npz": (in_arrays, in_bytes),
}
