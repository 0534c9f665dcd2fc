"""What a cut model lacks, and its mirror image: the original with the same channels silenced, nothing being removed.

Silencing knows of no ties and no groups. It looks at the operators that sum over channels, one by one: a weight that
stands in the file gets zeros where it reads removed channels, and of what is computed, removed slots are read as zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxprune.axes.linear import linear
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node, Shape, Tensor
from onnxprune.shapes import found_shapes
from onnxprune.spec import Given, Spec, read

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

__all__ = ["WEIGHTY", "removed", "silenced"]

WEIGHTY = re.compile("Attention|Conv|Einsum|Gemm|GRU|LSTM|MatMul|RNN")  # in the names of operators with weights


def removed(model: Model) -> dict[str, dict[int, list[int]]]:
    """The prune spec: the removed slots of every axis of every constant, in names and slots of the input file.

    Where an operator's weight is no constant of the file, or copies of it lost other slots, the spec has what the
    operator reads besides, so that ``silenced`` needs nothing else.
    """
    constants = _shapes(model.constants)
    spec = model.provenance.removed(constants)
    untold = [node for node in model.nodes if WEIGHTY.search(node.op) and not _told(model, node, spec)]
    heard = [t for node in untold for t in node.inputs if t is not None and not t.fixed]
    return model.provenance.removed({**constants, **_shapes(heard)})


def _shapes(tensors: Iterable[Tensor]) -> dict[str, tuple[int, ...]]:
    return {t.name: tuple(t.size(d) or 0 for d in range(t.rank or 0)) for t in tensors}


def _told(model: Model, node: Node, spec: Spec) -> bool:
    """Whether the spec says of a constant weight which channels it does not read any more."""
    if (view := linear(node)) is None or not view.weight.constant:
        return False
    own = model.provenance.removed(_shapes([view.weight]))
    stems = model.provenance.sources(view.read, view.weight.size(view.columns) or 0)
    return bool(stems) and all(spec.get(name, {}).get(dim) == own[name][dim] for name in own for dim in own[name])


def silenced(model: str | Path | onnx.ModelProto | Model, spec: Given) -> Model:
    """A copy of the original in which the removed channels have no effect, nothing being removed.

    ``model`` is the input file, or what was loaded from it; ``spec`` is ``prune.json``, or what is in it. A pruned
    model that was not healed computes the same as this. Raises UsageError where the two do not belong together.
    """
    result = Model.load(model)
    gone = read(spec, result)
    roots = _roots(result)
    heard = {roots.get(name, name): gone[name] for name in gone}
    read_by = [t for node in result.nodes for t in node.inputs if t is not None and roots.get(t.name, t.name) in heard]
    shapes = found_shapes(result, read_by)
    for node in [node for node in result.nodes if WEIGHTY.search(node.op)]:
        if (view := linear(node)) is not None and view.weight.constant:
            _silence(result, view.read, gone)
        for index, tensor in enumerate(node.inputs):
            if tensor is not None and not tensor.constant and (name := roots.get(tensor.name, tensor.name)) in heard:
                _mask(result, node, index, shapes[tensor.name] or (), heard[name])
    return result


def _roots(model: Model) -> dict[str, str]:
    """The tensor of which another is but a name: a pass may have removed the operator between the two."""
    roots: dict[str, str] = {}
    for node in model.nodes:
        if _renames(node):
            roots[node.y().name] = roots.get(node.x().name, node.x().name)
    return roots


def _renames(node: Node) -> bool:
    if node.domain or node.outputs[0] is None:
        return False
    return node.op in ("Identity", "Dropout") or (node.op == "Cast" and None is not node.x().dtype == node.y().dtype)


def _silence(model: Model, read: Axis, gone: Spec) -> None:
    """Give a constant zeros where it reads removed channels."""
    if slots := gone.get(read.tensor, {}).get(read.dim):
        value = np.array(model.tensor(read.tensor).value())
        value[_slots(value.ndim, read.dim, slots)] = 0
        model.put(read.tensor, value)


def _mask(model: Model, node: Node, index: int, shape: Shape, gone: Mapping[int, Sequence[int]]) -> None:
    """Let a node read zero in the removed slots of what is computed, whatever is computed there."""
    tensor = node.x(index)
    keep = np.ones([size if dim in gone and isinstance(size, int) else 1 for dim, size in enumerate(shape)], bool)
    for dim, slots in gone.items():
        keep[_slots(keep.ndim, dim, slots)] = False
    mask, zero, quiet = (model.fresh_name(f"{tensor.name}_{what}") for what in ("kept", "zero", "silenced"))
    if node.opset < 9:  # Where is younger
        model.put(mask, keep.astype(tensor.dtype))
        model.insert("Mul", [tensor.name, mask], [quiet], name=quiet)
    else:
        model.put(mask, keep)
        model.put(zero, np.zeros((), tensor.dtype))
        model.insert("Where", [mask, tensor.name, zero], [quiet], name=quiet)
    model.set_input(node, index, quiet)


def _slots(rank: int, dim: int, slots: Sequence[int]) -> tuple[slice | Array, ...]:
    index: list[slice | Array] = [slice(None)] * rank
    index[dim] = np.array(slots, int)
    return tuple(index)
