"""Shapes that the file leaves open: of contributed operators (read off a run), of dynamic sizes (given or sampled)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnxprune.counted import shape_of
from onnxprune.errors import ModelError, UsageError, unknown
from onnxprune.node import Array, Shape, Tensor
from onnxprune.proto import propagated, stripped
from onnxprune.sizes import TWO_GB, weigh

if TYPE_CHECKING:
    from onnxprune.model import Model

__all__ = ["concrete", "fill_gaps", "found_shapes", "input_shapes"]

log = logging.getLogger(__name__)

Types = dict[str, onnx.ValueInfoProto]

COUNTING = frozenset(  # how much they make depends on the data
    {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "SequenceMap", "StringSplit", "Unique"}
)


def fill_gaps(proto: onnx.ModelProto, types: Types, whole: Callable[[], onnx.ModelProto]) -> Types:
    """Add the types of what inference knows nothing of, as far as onnxruntime can run the graph.

    What the operators make of which onnx has no inference is read off a run, and inference goes on from there. A size
    counts as fixed only when it is the same in two runs, of zeros, every symbolic input dimension set to 2, and of
    ones, set to 3, and when it does not lie behind an operator that makes more or less of other data. ``proto`` may
    lack the data of large weights; ``whole`` gives the graph with them.
    """
    open_ = {o: n for n in proto.graph.node for o in n.output if o and (o not in types or _open(types[o]))}
    gaps = [name for name, node in open_.items() if not _inferable(node, proto)]
    if not gaps:
        return types
    try:
        runs = [_run(whole(), gaps, dynamic, fill) for dynamic, fill in ((2, 0), (3, 1))]
    except (ModelError, ValueError) as error:
        log.info("shapes of %s stay unknown: %s", ", ".join(gaps), error)
        return types
    found, loose = {}, _behind(proto, COUNTING)
    for name, first, second in zip(gaps, *runs, strict=True):
        if isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and first.ndim == second.ndim:
            kind = onnx.helper.np_dtype_to_tensor_dtype(first.dtype)
            pairs = zip(first.shape, second.shape, strict=True)
            shape = [a if a == b and name not in loose else None for a, b in pairs]
            found[name] = onnx.helper.make_tensor_value_info(name, kind, shape)
    return {**types, **_followed(proto, found), **found}


def _followed(proto: onnx.ModelProto, found: Mapping[str, onnx.ValueInfoProto]) -> dict[str, onnx.ValueInfoProto]:
    """What inference makes of all the graph once it is told of some tensors: its symbols are those of one inference."""
    lean = stripped(proto)
    told = {o.name for o in lean.graph.output}
    lean.graph.value_info.extend(info for name, info in found.items() if name not in told)
    try:
        graph = propagated(lean)
    except Exception as error:  # inference raises several unrelated types
        log.info("shapes behind %s stay unknown: %s", ", ".join(found), error)
        return {}
    return {v.name: v for v in (*graph.output, *graph.value_info) if not _open(v)}


def _behind(proto: onnx.ModelProto, kinds: Set[str]) -> set[str]:
    """The tensors that are computed from what operators of some kinds make, and those themselves."""
    behind = set[str]()
    for node in proto.graph.node:
        if node.op_type in kinds or not behind.isdisjoint(node.input):
            behind.update(node.output)
    return behind


def _inferable(node: onnx.NodeProto, proto: onnx.ModelProto) -> bool:
    """Whether onnx knows the shapes that an operator makes: not of contributed ones, nor of GroupNormalization."""
    if node.domain not in ("", "ai.onnx.ml"):
        return False
    version = max((o.version for o in proto.opset_import if o.domain == node.domain), default=1)
    return onnx.defs.get_schema(node.op_type, version, node.domain).has_type_and_shape_inference_function


def _open(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and shape_of(info) is None


def _run(proto: onnx.ModelProto, names: list[str], dynamic: int, fill: int) -> list[Array]:
    from onnxprune.runtime import Session

    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    feeds = {}
    _check_runnable(proto, dynamic)
    for value in proto.graph.input:
        if not value.type.tensor_type.elem_type:
            raise ValueError(f"input '{value.name}' is no tensor")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.full(_sizes(value, dynamic), fill, dtype)
    return Session(probe, optimise=False)(feeds)


def _sizes(value: onnx.ValueInfoProto, dynamic: int) -> list[int]:
    return [d if isinstance(d, int) else dynamic for d in shape_of(value) or ()]


def _check_runnable(proto: onnx.ModelProto, dynamic: int) -> None:
    """Raise ModelError where weights and inputs are too large for a run that was not asked for."""
    elements = sum(math.prod(_sizes(value, dynamic)) for value in proto.graph.input)
    if weigh(proto.graph.initializer) + elements >= TWO_GB:
        raise ModelError("a model with weights and inputs of over 2 GB is not run to see its shapes")


def concrete(model: Model, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor with the graph inputs of the given shapes.

    What inference leaves open is read off a run of ones; what the graph does not take counts as 1.
    """
    known = _inferred(_sized(model.outline(), inputs))
    known.update((t.name, t.shape) for t in model.constants)
    guess = {t.name: t.shape for node in model.nodes for t in node.tensors()}
    gaps = [name for name in guess if not _fixed(known.get(name))]
    known |= {name: value.shape for name, value in _seen(_sized(model.lean(), inputs), gaps).items()} if gaps else {}
    return {name: tuple(d if isinstance(d, int) else 1 for d in known.get(name) or guess[name] or ()) for name in guess}


def _sized(proto: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The same graph, whose inputs now have the given shapes."""
    for value in proto.graph.input:
        if (given := inputs.get(value.name)) is not None:
            for dim, size in zip(value.type.tensor_type.shape.dim, given, strict=True):
                dim.dim_value = size
    return proto


def found_shapes(model: Model, tensors: Iterable[Tensor]) -> dict[str, Shape | None]:
    """The shapes of tensors; what is neither fixed nor a symbol of the inputs is read off a run.

    None where there can be none.
    """
    shapes, symbols = {t.name: t.shape for t in tensors}, {d for t in model.inputs for d in t.shape or ()} - {None}
    known = [shape is not None and all(isinstance(d, int) or d in symbols for d in shape) for shape in shapes.values()]
    gaps = [name for name, whole in zip(shapes, known, strict=True) if not whole]
    seen = concrete(model, {}) if gaps else {}
    return shapes | {name: seen[name] or None for name in gaps}


def _fixed(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(d, int) for d in shape)


def _inferred(proto: onnx.ModelProto) -> dict[str, Shape | None]:
    lean = stripped(proto)
    del lean.graph.value_info[:]
    for value in lean.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = propagated(lean)
    return {v.name: shape_of(v) for v in (*graph.output, *graph.value_info, *graph.input)}


def _seen(proto: onnx.ModelProto, names: list[str]) -> dict[str, Array]:
    """The tensors of a run of ones, none where the graph does not take them."""
    try:
        values = _run(proto, names, dynamic=1, fill=1)
    except (ModelError, ValueError) as error:
        log.info("shapes of %s stay unknown: %s", ", ".join(names), error)
        return {}
    return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}


def input_shapes(
    model: Model, given: Mapping[str, tuple[int, ...]], sample: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    """The full shape of every graph input: dynamic sizes from ``given``, then from a ``sample``, then 1.

    Raises UsageError when ``given`` names no input or contradicts a fixed size.
    """
    shapes = {}
    if wrong := given.keys() - {t.name for t in model.inputs}:
        raise UsageError("--shape: " + unknown("graph input", sorted(wrong)[0], [t.name for t in model.inputs]))
    for tensor in model.inputs:
        declared = tensor.shape or ()
        wanted = given.get(tensor.name)
        if wanted is not None and not _fits(wanted, declared):
            raise UsageError(f"--shape {tensor.name}={list(wanted)} does not fit the model's {list(declared)}")
        source = wanted or (sample or {}).get(tensor.name) or ()
        fallback = source if len(source) == len(declared) else (1,) * len(declared)
        shapes[tensor.name] = tuple(d if isinstance(d, int) else f for d, f in zip(declared, fallback, strict=True))
    return shapes


def _fits(wanted: tuple[int, ...], declared: Shape) -> bool:
    return len(wanted) == len(declared) and all(
        w > 0 and (w == d or not isinstance(d, int)) for w, d in zip(wanted, declared, strict=True)
    )
