"""Constants that exporters store once because they are equal: each reader has its own while channels are cut.

A bias of zeros that twenty layers read ties all of them to each other, and none of them means it. ``part`` gives each
reader a copy, ``merge`` puts together what is still equal afterwards, so that nothing is left of it where nothing was
cut. A weight matrix is no such constant: who shares it shares a layer, which is cut for all or for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from onnxprune.axes.linear import linear
from onnxprune.axes.silencing import WEIGHTY
from onnxprune.constants import constants_behind
from onnxprune.model import Model
from onnxprune.node import Node, Tensor
from onnxprune.sizes import stored_bits

__all__ = ["Copies", "merge", "part", "sharers"]

LARGE = 2**16  # bytes: what is larger, and more than SHARE of all constants, stays shared
SHARE = 0.01
MOST = 3  # names in a message


@dataclass(frozen=True)
class Copies:
    """The copies made of each constant, in the order of their readers, and the constants too large for that."""

    of: Mapping[str, tuple[str, ...]]
    large: Mapping[str, tuple[str, ...]]  # and who reads them


def part(model: Model) -> Copies:
    """Give every reader of a shared constant that is no weight a copy of its own; the first keeps the original.

    Where the name itself is needed, by a subgraph or as a graph output, every reader gets a copy.
    """
    shared = {name: places for name, places in _places(model).items() if len(places) > 1}
    weights = _weights(model) if shared else set[str]()
    most = max(LARGE, SHARE * sum(map(_bytes, model.constants))) if shared else 0
    copies: dict[str, tuple[str, ...]] = {}
    large: dict[str, tuple[str, ...]] = {}
    for name, places in shared.items():
        if name not in weights and _bytes(model.tensor(name)) <= most:
            needed = model.captured(name) or model.is_output(name)
            copies[name] = tuple(_copied(model, name, places if needed else places[1:]))
        elif name not in weights:
            large[name] = tuple(dict.fromkeys(node.name for node, _ in places))
    return Copies(copies, large)


def _copied(model: Model, name: str, places: Iterable[tuple[Node, int]]) -> Iterator[str]:
    for number, (node, index) in enumerate(places, start=1):
        twin = model.fresh_name(f"{name}_{number}")
        model.duplicate(name, twin)
        model.set_input(node, index, twin)
        yield twin


def _places(model: Model) -> dict[str, list[tuple[Node, int]]]:
    """Who reads the constants of more than one element, input by input."""
    found: dict[str, list[tuple[Node, int]]] = {}
    for node in model.nodes:
        for index, tensor in enumerate(node.inputs):
            if tensor is not None and tensor.constant and tensor.elements() > 1:
                found.setdefault(tensor.name, []).append((node, index))
    return found


def _weights(model: Model) -> set[str]:
    """The constants that hold weights: those of linear operators, and matrices from which weights are computed."""
    behind, found = constants_behind(model), set[str]()
    for node in (node for node in model.nodes if WEIGHTY.search(node.op)):
        view = linear(node)
        found |= {view.weight.name} if view is not None else set()
        read = [t for t in node.inputs if t is not None and t.name in behind and _is_matrix(t)]
        sources = {name for tensor in read for name in behind[tensor.name]}
        found |= {name for name in sources - found if _is_matrix(model.tensor(name))}
    return found


def _is_matrix(tensor: Tensor) -> bool:
    return sum(size != 1 for size in tensor.shape or ()) > 1


def sharers(model: Model) -> dict[str, str]:
    """What to say of linear operators that are tied to others by the matrix that holds their weights."""
    behind, readers = constants_behind(model), dict[str, dict[str, None]]()
    views = [view for node in model.nodes if (view := linear(node)) is not None]
    for node in model.nodes:
        fixed = [t.name for t in node.inputs if t is not None and t.fixed]
        if not all(t is None or t.fixed for t in node.outputs):
            for source in (source for name in fixed for source in behind.get(name, ())):
                readers.setdefault(source, {})[node.name] = None
    said: dict[str, str] = {}
    for view in views:
        for source in sorted(behind.get(view.weight.name, ())):
            others = [name for name in readers.get(source, ()) if name != view.node.name]
            if others and _is_matrix(model.tensor(source)):
                more = f" and {len(others) - MOST} more" if len(others) > MOST else ""
                said[view.node.name] = f"; its weight '{source}' is also that of {', '.join(others[:MOST])}{more}"
    return said


def merge(model: Model, copies: Copies) -> int:
    """Let equal copies be one constant again; the bytes that those which differ now take more."""
    added = 0
    for name, twins in copies.of.items():
        found: dict[object, str] = {}
        for each in (name, *twins):
            held = found.setdefault(_content(model.tensor(each)), each)
            if held != each:
                model.provenance.merge(held, each, _shape(model.tensor(each)))
                model.rewire(each, held)
                model.discard(each)
        added += sum(_bytes(model.tensor(each)) for each in found.values() if each != name)
    return added


def _content(tensor: Tensor) -> object:
    value = tensor.value()
    return value.dtype.name, value.shape, repr(value.tolist()) if value.dtype == object else value.tobytes()


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.size(dim) or 0 for dim in range(tensor.rank or 0))


def _bytes(tensor: Tensor) -> int:
    return tensor.elements() * stored_bits(tensor.dtype) // 8 if tensor.dtype is not None else 0
