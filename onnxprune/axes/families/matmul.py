"""Products of matrices: positions pass, and the index that is summed over ties x to a fixed weight."""

from __future__ import annotations

from onnxprune.axes.einsum import Terms
from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.families.elementwise import broadcast
from onnxprune.axes.linear import linear
from onnxprune.axes.rules import rule
from onnxprune.node import Axis, Node, Tensor


@rule("Gemm")
def gemm(node: Node) -> Facts:
    """y[m, n] = alpha · Σ_k a[m, k] b[k, n] + beta · c, either operand transposed on the way in, c broadcast to y."""
    a, b, c, y = node.x(0), node.x(1), node.input(2), node.y()
    m, n = (int(bool(node.attrs.get(name, 0))) for name in ("transA", "transB"))
    yield Tie(at(a, m), at(y, 0))
    yield Tie(at(b, 1 - n), at(y, 1))
    yield from _summed(node, at(a, 1 - m), at(b, n))
    if c is not None:
        yield from broadcast(c, y)


@rule("MatMul")
def matmul(node: Node) -> Facts:
    """y[…, m, n] = Σ_k a[…, m, k] b[…, k, n]; a vector has no m or no n, and the dimensions before are broadcast."""
    a, b, y = node.x(0), node.x(1), node.y()
    matrices = [t.rank != 1 for t in (a, b)]
    yield from _summed(node, at(a, -1), at(b, -2 if matrices[1] else -1))
    if matrices[0]:
        yield Tie(at(a, -2), at(y, -sum(matrices)))
    if matrices[1]:
        yield Tie(at(b, -1), at(y, -1))
    for tensor in (a, b):
        for back in range(1, (tensor.rank or 0) - 1):
            yield from _stretched(at(tensor, -2 - back), tensor, at(y, -sum(matrices) - back), y)


@rule("Einsum")
def einsum(node: Node) -> Facts:
    """An index of the output passes; of those summed over, only one between x and a fixed weight can be cut."""
    terms, y = Terms.of(node), node.y()
    if terms is None or len(terms.output) != y.rank:
        raise ValueError(f"the equation '{node.attrs.get('equation')}' does not fit its operands")
    view = linear(node)
    summed = {at(view.x, view.x_channel), view.read} if view is not None else set[Axis]()
    if view is not None:
        yield Tie(at(view.x, view.x_channel), view.read)
    for tensor, indices in zip((t for t in node.inputs if t is not None), terms.inputs, strict=True):
        for dim, index in enumerate(indices):
            if index in terms.output:
                yield from _stretched(at(tensor, dim), tensor, at(y, terms.output.index(index)), y)
            elif at(tensor, dim) not in summed:
                yield Pin(at(tensor, dim), f"summed over by Einsum '{node.name}'")


def _stretched(axis: Axis, tensor: Tensor, onto: Axis, y: Tensor) -> Facts:
    """An axis is that of the output, unless it is one slot that is broadcast."""
    if not (tensor.size(axis.dim) == 1 != y.size(onto.dim)):
        yield Tie(axis, onto)


def _summed(node: Node, left: Axis, right: Axis) -> Facts:
    """A slot that is summed over can go where a zero in a fixed weight silences it."""
    if linear(node) is not None:
        yield Tie(left, right)
    else:
        why = f"summed over by {node.op} '{node.name}', which has no weight of rank 2 or more on one side alone"
        yield from (Pin(axis, why) for axis in (left, right))
