"""Random data movement for tests: one node a case, and the map of elements that running it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from oracle import net

from onnxprune.axes.facts import Tie
from onnxprune.node import Array, Axis, Node, Tensor
from onnxprune.runtime import Session

Case = Callable[[np.random.Generator], Node]


def of(body: str, *shapes: list[int], opset: int = 17, **constants: object) -> Node:
    """One node; inputs are called a, b … by their shapes, and what it makes y, z …, constants are integers."""
    inputs = ", ".join(f"float{shape} {name}" for shape, name in zip(shapes, "abcd", strict=False))
    held = [(name, np.array(value, np.int64)) for name, value in constants.items()]
    declared = ", ".join(
        f"int64{list(value.shape) or ''} {name} = {{{','.join(map(str, value.ravel()))}}}" for name, value in held
    )
    made = [name.strip() for name in body.partition("=")[0].split(",")]
    behind = " ".join(f"{name}1 = Relu({name})" for name in made)
    outputs = ", ".join(f"float[] {name}1" for name in made)
    return net(f"({inputs}) => ({outputs}) <{declared}> {{ {body} {behind} }}", opset).nodes[0]


def shape(rng: np.random.Generator, low: int = 1, high: int = 4) -> list[int]:
    """A random shape, its rank between ``low`` and ``high``."""
    return [int(size) for size in rng.integers(1, 7, rng.integers(low, high + 1))]


def moved(node: Node) -> Iterator[tuple[Axis, Axis, Array]]:
    """For every axis of what is moved and of what is made, which of their slots share elements; bool, 2-D.

    The inputs that are not constant count their elements from 1 on, and the node is run on them.
    """
    data = {t.name: t for t in node.inputs if t is not None and not t.constant}
    start, values, ranges = 1, {}, {}
    for name, tensor in data.items():
        count = int(np.prod(tensor.shape))
        values[name] = np.arange(start, start + count, dtype=np.float32).reshape(tensor.shape)
        ranges[name] = start
        start += count
    made = [t for t in node.outputs if t is not None]
    for result, y in zip(_run(node, values, made), made, strict=True):
        assert result.shape == y.shape, f"{y.name} is {result.shape}, not {y.shape}"
        for name, x in data.items() if result.ndim else ():
            places = np.nonzero((result >= ranges[name]) & (result < ranges[name] + np.prod(x.shape)))
            sources = np.unravel_index(result[places].astype(int) - ranges[name], x.shape)
            for a, b in np.ndindex(len(x.shape), len(y.shape)):
                hit = np.zeros((x.shape[a], y.shape[b]), bool)
                hit[sources[a], places[b]] = True
                yield Axis(name, a), Axis(y.name, b), hit


def _run(node: Node, values: dict[str, Array], made: list[Tensor]) -> list[Array]:
    held = {t.name: t.value() for t in node.inputs if t is not None and t.constant} | values
    names = [t.name if t is not None else "" for t in node.inputs]
    graph = onnx.GraphProto(name="moved")
    graph.node.append(onnx.helper.make_node(node.op, names, [t.name for t in made], **node.attrs))
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in held.items())
    graph.output.extend(onnx.ValueInfoProto(name=t.name) for t in made)
    opset = onnx.helper.make_opsetid("", node.opset)
    return Session(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]), optimise=False)({})


def tied(ties: list[Tie], a: Axis, b: Axis, sizes: tuple[int, ...]) -> Array:
    """Which slots of two axes are tied; bool, 2-D."""
    hit = np.zeros(sizes, bool)
    for tie in ties:
        for left, right, turned in ((a, b, False), (b, a, True)):
            if (tie.a, tie.b) == (left, right):
                slots = tie.slots(sizes[0] if turned else sizes[1])
                pairs = slots[slots >= 0], np.flatnonzero(slots >= 0)
                hit[pairs[::-1] if turned else pairs] = True
    return hit


def _transpose(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    return of(f"y = Transpose<perm={rng.permutation(len(dims)).tolist()}>(a)", dims)


def _transpose_back(rng: np.random.Generator) -> Node:
    return of("y = Transpose(a)", shape(rng))


def _concat(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axis = int(rng.integers(-len(dims), len(dims)))
    others = [[*dims] for _ in range(3)]
    for other in others:
        other[axis] = int(rng.integers(1, 6))
    read = ", ".join(rng.permutation(list("abca"))[: rng.integers(1, 5)])
    return of(f"y = Concat<axis={axis}>({read})", *others)


def _split(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axis = int(rng.integers(-len(dims), len(dims)))
    parts = rng.integers(1, 5, 3)
    dims[axis] = int(parts.sum())
    form = rng.integers(3)
    if form == 0:
        return of(f"y, z, w = Split<axis={axis}>(a, s)", dims, s=parts)
    if form == 1:
        return of(f"y, z, w = Split<axis={axis}, split={parts.tolist()}>(a)", dims, opset=11)
    dims[axis] = int(rng.choice([3, 5, 6, 8]))  # three parts, of which the last may be smaller
    return of(f"y, z, w = Split<axis={axis}, num_outputs=3>(a)", dims, opset=18)


def _slice(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axes = rng.permutation(len(dims))[: rng.integers(1, len(dims) + 1)]
    bounds = [_bounds(rng, dims[axis]) for axis in axes]
    starts, ends, steps = zip(*bounds, strict=True)
    inside = all(start >= -dims[axis] for start, axis in zip(starts, axes, strict=True))
    if set(steps) == {1} and inside and sorted(axes) == axes.tolist():  # of others inference knows nothing there
        plain = f"starts={list(starts)}, ends={list(ends)}, axes={axes.tolist()}"
        return of(f"y = Slice<{plain}>(a)", dims, opset=9)
    axes = np.where(rng.random(len(axes)) < 0.5, axes, axes - len(dims))
    return of("y = Slice(a, s, e, x, t)", dims, s=starts, e=ends, x=axes, t=steps)


def _bounds(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    """Start, end and step that leave something."""
    far = [np.iinfo(np.int64).max, np.iinfo(np.int32).max, np.iinfo(np.int64).min + 1]
    while True:
        start, end = (int(value) for value in rng.integers(-size - 1, size + 2, 2))
        end = int(rng.choice(far)) if rng.random() < 0.3 else end
        step = int(rng.choice([-2, -1, 1, 1, 1, 2, 3]))
        if len(range(size)[slice(start, end, step)]):
            return start, end, step


def _gather(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axis = int(rng.integers(-len(dims), len(dims)))
    size = dims[axis]
    index = rng.integers(-size, size, [(), (int(rng.integers(1, 8)),), (2, 3)][rng.choice([0, 1, 1, 1, 2])])
    return of(f"y = Gather<axis={axis}>(a, i)", dims, i=index)


def _pad(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    pads = np.concatenate([rng.integers(-(np.array(dims) // 3), 3) for _ in range(2)])
    if rng.random() < 0.3:
        return of(f"y = Pad<pads={pads.tolist()}>(a)", dims, opset=10)
    if rng.random() < 0.5:
        return of("y = Pad(a, p)", dims, p=pads)
    axes = rng.permutation(len(dims))[: rng.integers(1, len(dims) + 1)]
    return of("y = Pad(a, p, , x)", dims, opset=18, p=pads[np.concatenate([axes, axes + len(dims)])], x=axes)


def _pad_by_others(rng: np.random.Generator) -> Node:
    dims = [size + 2 for size in shape(rng)]
    mode = rng.choice(["reflect", "edge"])
    return of(f'y = Pad<mode="{mode}">(a, p)', dims, p=rng.integers(0, 2, 2 * len(dims)))


def _tile(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    return of("y = Tile(a, r)", dims, r=rng.integers(1, 4, len(dims)))


def _expand(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    target = [int(rng.integers(1, 5)) if size == 1 else int(rng.choice([1, size])) for size in dims]
    wide = rng.integers(-len(dims) + 1, 3)
    target = [2] * wide + target if wide > 0 else target[-wide:]
    return of("y = Expand(a, t)", dims, t=target)


def _depth_to_space(rng: np.random.Generator) -> Node:
    block = int(rng.integers(1, 4))
    dims = [int(rng.integers(1, 3)), int(rng.integers(1, 5)) * block**2, *(int(s) for s in rng.integers(1, 4, 2))]
    mode = rng.choice([', mode="DCR"', ', mode="CRD"', ""])
    return of(f"y = DepthToSpace<blocksize={block}{mode}>(a)", dims)


def _space_to_depth(rng: np.random.Generator) -> Node:
    block = int(rng.integers(1, 4))
    dims = [int(s) for s in rng.integers(1, 4, 4)]
    return of(f"y = SpaceToDepth<blocksize={block}>(a)", [*dims[:2], *(size * block for size in dims[2:])])


def _squeeze(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    ones = rng.permutation(len(dims))[: rng.integers(1, len(dims) + 1)]
    for d in ones:
        dims[d] = 1
    if rng.random() < 0.3:
        return of("y = Squeeze(a)", dims)
    if rng.random() < 0.5:
        return of(f"y = Squeeze<axes={ones.tolist()}>(a)", dims, opset=11)
    return of("y = Squeeze(a, x)", dims, x=ones - len(dims))


def _unsqueeze(rng: np.random.Generator) -> Node:
    dims = shape(rng, high=3)
    wide = len(dims) + int(rng.integers(1, 3))
    return of("y = Unsqueeze(a, x)", dims, x=rng.permutation(wide)[: wide - len(dims)] - wide * rng.integers(2))


def _reshape(rng: np.random.Generator) -> Node:
    dims = [int(size) for size in rng.choice([1, 2, 3, 4, 6], rng.integers(1, 5))]
    target = _regrouped(rng, int(np.prod(dims)))
    if rng.random() < 0.3:
        target[rng.integers(len(target))] = -1
    return of("y = Reshape(a, t)", dims, t=target)


def _regrouped(rng: np.random.Generator, total: int) -> list[int]:
    target = []
    for _ in range(rng.integers(0, 3)):
        target.append(int(rng.choice([d for d in range(1, total + 1) if total % d == 0])))
        total //= target[-1]
    target.append(total)
    return [int(size) for size in rng.permutation(target)]


def _flatten(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    return of(f"y = Flatten<axis={rng.integers(-len(dims), len(dims) + 1)}>(a)", dims)


def _einsum(rng: np.random.Generator) -> Node:
    rank = int(rng.integers(1, 5))
    sizes = {letter: int(size) for letter, size in zip("ijkl", rng.integers(1, 6, 4), strict=True)}
    read = "".join(rng.choice(list("ijkl"), rank))
    made = "".join(rng.permutation(sorted(set(read))))  # nothing is summed over
    dims = [sizes[letter] for letter in read]
    if rng.random() < 0.3 and len(made) == len(read):
        return of(f'y = Einsum<equation="...{read}->{made}...">(a)', [2, 3, *dims])
    return of(f'y = Einsum<equation="{read}->{made}">(a)', dims)


def _elements(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axis = int(rng.integers(len(dims)))
    wide = [int(rng.integers(1, size + 1)) for size in dims]
    wide[axis] = int(rng.integers(1, 5))
    index = rng.integers(-dims[axis], dims[axis], wide)
    if rng.random() < 0.5:  # the same for all
        row = rng.integers(0, dims[axis], [wide[axis] if d == axis else 1 for d in range(len(dims))])
        index = np.broadcast_to(row, wide)
    return of(f"y = GatherElements<axis={axis - len(dims) * rng.integers(2)}>(a, i)", dims, i=index)


def _gather_nd(rng: np.random.Generator) -> Node:
    dims = shape(rng, 1, 3)
    batch = int(rng.integers(0, len(dims)))
    depth = int(rng.integers(1, len(dims) - batch + 1))
    lead = [int(size) for size in rng.integers(1, 5, rng.integers(0 if batch else 1, 3))]
    places = [rng.integers(-size, size, [*dims[:batch], *lead]) for size in dims[batch : batch + depth]]
    return of(f"y = GatherND<batch_dims={batch}>(a, i)", dims, i=np.stack(places, -1))


def _scatter_nd(rng: np.random.Generator) -> Node:
    dims = shape(rng, 1, 3)
    depth = int(rng.integers(1, len(dims) + 1))
    free = rng.permutation(np.stack(np.indices(dims[:depth]), -1).reshape(-1, depth))
    lead = [int(rng.integers(1, len(free) + 1))]
    if lead[0] % 2 == 0 and rng.random() < 0.5:
        lead = [2, lead[0] // 2]
    index = free[: np.prod(lead)].reshape(*lead, depth)
    if rng.random() < 0.5:
        index = np.sort(index, 0)
    return of("y = ScatterND(a, i, b)", dims, [*lead, *dims[depth:]], i=index)


def _scatter_elements(rng: np.random.Generator) -> Node:
    dims = shape(rng)
    axis = int(rng.integers(len(dims)))
    wide = [int(rng.integers(1, size + 1)) for size in dims]
    order = rng.permutation(dims[axis])[: wide[axis]]
    index = np.broadcast_to(order.reshape([-1 if d == axis else 1 for d in range(len(dims))]), wide)
    if rng.random() < 0.5:
        index = rng.permuted(np.array(index), axis=axis)
    op, opset = [("ScatterElements", 17), ("Scatter", 10)][rng.integers(2)]
    return of(f"y = {op}<axis={axis}>(a, i, b)", dims, wide, opset=opset, i=index)


MOVES: dict[str, Case] = {
    case.__name__.strip("_"): case
    for case in (
        _transpose, _transpose_back, _concat, _split, _slice, _gather, _pad, _pad_by_others, _tile, _expand,
        _depth_to_space, _space_to_depth, _squeeze, _unsqueeze, _reshape, _flatten, _einsum, _elements, _gather_nd,
    )
}  # fmt: skip
PLACES: dict[str, Case] = {"scatter_nd": _scatter_nd, "scatter_elements": _scatter_elements}
