"""LSTM, GRU and RNN step by step: one product for what all steps read, and one a step for the state.

Equations and names are those of the ONNX specification: W weighs the inputs, R the state, their biases stand in B, the
peepholes in P. Gates lie side by side in the order of the operator. Tensors have two axes: [steps × batch, gates ×
hidden] for the inputs of all steps, and [batch, hidden] for a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onnxprune.backends.lowering.activations import Activation, activations
from onnxprune.backends.lowering.site import Site

__all__ = ["LONGEST", "recurrent"]

LONGEST = 256  # steps: each is written out and compiled

X, W, R, B, LENGTHS, H_0, C_0, P = range(8)  # inputs
Y, Y_H, Y_C = range(3)  # outputs
BACKWARD = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

State = tuple[str, str]  # h and c, which is "" where there is none


@dataclass(frozen=True)
class _Sizes:
    steps: int
    batch: int
    features: int
    hidden: int


@dataclass(frozen=True)
class _Cell:
    """One direction; of the operator's tensors it knows its own part."""

    site: Site
    direction: int
    sizes: _Sizes
    functions: Sequence[Activation]

    def given(self, index: int) -> str:
        """This direction's part of an input, ``""`` where the input is omitted."""
        name, axis = self.site.input(index), self.site.attribute("layout", 0) if index in (H_0, C_0) else 0
        return name and self.site.emit("Gather", name, self.site.constant(self.direction), axis=axis)

    def weight(self, index: int) -> str:
        """W or R, ready to be multiplied with from the right."""
        return self.site.emit("Transpose", self.given(index), perm=[1, 0])

    def start(self, index: int) -> str:
        """A state before the first step: zeros, where none is given."""
        return self.given(index) or self.number([[0.0] * self.sizes.hidden] * self.sizes.batch)

    def number(self, value: object) -> str:
        """A constant of the operator's type."""
        return self.site.constant(value, self.site.dtype(self.site.input(X)))

    def gates(self, x: str, first: int, count: int = 1) -> str:
        """So many gates, side by side."""
        hidden = self.sizes.hidden
        return self.site.slice(x, first * hidden, (first + count) * hidden, -1)

    def activated(self, which: int, x: str) -> str:
        """An activation, of what is clipped before where that is asked for."""
        return self.functions[which](self.site, self.clipped(x))

    def clipped(self, x: str) -> str:
        """What is given, within the bound of the attribute ``clip``."""
        bound = self.site.attribute("clip")
        return x if bound is None else self.site.emit("Clip", x, self.number(-bound), self.number(bound))

    def but(self, x: str) -> str:
        """1 - x."""
        return self.site.emit("Sub", self.number(1.0), x)


@dataclass(frozen=True)
class _Form:
    """What tells operators apart; ``stepper`` makes the function from inputs and state to the next state."""

    defaults: tuple[str, ...]
    gates: int
    stepper: Callable[[_Cell], Callable[[str, State], State]]


def recurrent(site: Site) -> None:
    """Write the operator out; raises ValueError for what cannot be."""
    form, sizes = FORMS[site.node.op_type], _sizes(site)
    _check(site, sizes)
    ways = BACKWARD[site.attribute("direction", "forward")]
    functions, count = activations(site, form.defaults), len(form.defaults)
    x = site.emit("Transpose", site.input(X), perm=[1, 0, 2]) if site.attribute("layout", 0) else site.input(X)
    rows = site.reshape(x, (sizes.steps * sizes.batch, sizes.features))
    runs = [
        _run(_Cell(site, k, sizes, functions[k * count : (k + 1) * count]), form, rows, backward)
        for k, backward in enumerate(ways)
    ]
    whole, last_h, last_c = zip(*runs, strict=True)
    _join(site, Y, whole, (sizes.steps, 1, sizes.batch, sizes.hidden))
    _join(site, Y_H, last_h, (1, sizes.batch, sizes.hidden))
    _join(site, Y_C, last_c, (1, sizes.batch, sizes.hidden))


def _sizes(site: Site) -> _Sizes:
    steps, batch, features = site.shape(site.input(X))
    if site.attribute("layout", 0):
        steps, batch = batch, steps
    return _Sizes(steps, batch, features, site.shape(site.input(R))[2])


def _check(site: Site, sizes: _Sizes) -> None:
    if not 0 < sizes.steps <= LONGEST:
        raise ValueError(f"it runs {sizes.steps} steps; 1 to {LONGEST} can be written out one by one")
    if lengths := site.input(LENGTHS):
        value = site.value(lengths)
        if value is None or (value != sizes.steps).any():
            raise ValueError(f"its sequences are of several lengths ('{lengths}')")


def _run(cell: _Cell, form: _Form, rows: str, backward: bool) -> tuple[str, str, str]:
    """What all steps make, and the last h and c."""
    site, sizes = cell.site, cell.sizes
    inputs = _projected(cell, form.gates, rows)
    step, state = form.stepper(cell), (cell.start(H_0), cell.start(C_0) if site.node.op_type == "LSTM" else "")
    made = {}
    for t in reversed(range(sizes.steps)) if backward else range(sizes.steps):
        first = t * sizes.batch
        state = step(site.slice(inputs, first, first + sizes.batch, 0) if sizes.steps > 1 else inputs, state)
        made[t] = state[0]
    every = [made[t] for t in range(sizes.steps)]
    return (site.emit("Concat", *every, axis=0) if len(every) > 1 else every[0], *state)


def _projected(cell: _Cell, gates: int, rows: str) -> str:
    """What the gates of all steps get from the inputs, and from the biases that nothing scales."""
    site, product = cell.site, cell.site.emit("MatMul", rows, cell.weight(W))
    if not (biases := cell.given(B)):
        return product
    ours, states = cell.gates(biases, 0, gates), cell.gates(biases, gates, gates)
    if _reset_after(site):
        states = site.emit("Concat", cell.gates(states, 0, 2), cell.number([0.0] * cell.sizes.hidden), axis=0)
    return site.emit("Add", product, site.emit("Add", ours, states))


def _join(site: Site, output: int, parts: Sequence[str], shape: tuple[int, ...]) -> None:
    """One output of the parts of all directions, each of which becomes an axis of length one."""
    if not site.output(output):
        return
    shaped, axis = [site.reshape(part, shape) for part in parts], len(shape) - 3
    whole = site.emit("Concat", *shaped, axis=axis) if len(shaped) > 1 else shaped[0]
    if site.attribute("layout", 0):
        whole = site.emit("Transpose", whole, perm=[2, 0, 1, 3] if axis else [1, 0, 2])
    site.write(output, whole)


def _reset_after(site: Site) -> bool:
    return bool(site.attribute("linear_before_reset", 0))


def _rnn(cell: _Cell) -> Callable[[str, State], State]:
    """H = f(Xt Wᵀ + H Rᵀ)."""
    weight, emit = cell.weight(R), cell.site.emit

    def step(inputs: str, state: State) -> State:
        return cell.activated(0, emit("Add", emit("MatMul", state[0], weight), inputs)), ""

    return step


def _lstm(cell: _Cell) -> Callable[[str, State], State]:
    """C = f ⊙ C + i ⊙ c, H = o ⊙ h(C), with peepholes from C to the gates i, o and f."""
    weight, peepholes, emit = cell.weight(R), cell.given(P), cell.site.emit
    peeps = [cell.gates(peepholes, k) for k in range(3)] if peepholes else []

    def gate(k: int, gates: str, c: str) -> str:
        seen = cell.gates(gates, k)
        return cell.activated(0, emit("Add", seen, emit("Mul", peeps[k], c)) if peeps else seen)

    def step(inputs: str, state: State) -> State:
        h, c = state
        gates = emit("Add", emit("MatMul", h, weight), inputs)
        let_in = gate(0, gates, c)
        forget = cell.but(let_in) if cell.site.attribute("input_forget", 0) else gate(2, gates, c)
        c = emit("Add", emit("Mul", forget, c), emit("Mul", let_in, cell.activated(1, cell.gates(gates, 3))))
        return emit("Mul", gate(1, gates, c), cell.functions[2](cell.site, c)), c

    return step


def _gru(cell: _Cell) -> Callable[[str, State], State]:
    """H = (1 - z) ⊙ g(…) + z ⊙ H, the reset gate r taking effect before R or after it."""
    emit, weight, biases = cell.site.emit, cell.weight(R), cell.given(B)
    after = _reset_after(cell.site)
    update, fresh = (cell.gates(weight, *span) for span in ((0, 2), (2, 1)))
    bias = cell.gates(biases, 5) if biases and after else ""

    def proposed(h: str, r: str, inputs: str) -> str:
        if not after:
            return emit("Add", emit("MatMul", emit("Mul", r, h), fresh), inputs)
        product = emit("MatMul", h, fresh)
        return emit("Add", emit("Mul", r, emit("Add", product, bias) if bias else product), inputs)

    def step(inputs: str, state: State) -> State:
        h = state[0]
        both = cell.activated(0, emit("Add", emit("MatMul", h, update), cell.gates(inputs, 0, 2)))
        z, r = (cell.gates(both, k) for k in range(2))
        g = cell.activated(1, proposed(h, r, cell.gates(inputs, 2)))
        return emit("Add", emit("Mul", cell.but(z), g), emit("Mul", z, h)), ""

    return step


FORMS: Mapping[str, _Form] = {
    "GRU": _Form(("Sigmoid", "Tanh"), 3, _gru),
    "LSTM": _Form(("Sigmoid", "Tanh", "Tanh"), 4, _lstm),
    "RNN": _Form(("Tanh",), 1, _rnn),
}
