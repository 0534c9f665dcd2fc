"""Running a graph over calibration data in steps, each from what the step before left on disk.

To read a tensor, the part of the graph before it has to run. Step after step, that part begins at the boundary between
what has run and what has not, so that every node runs once for each sample, however deep the graph is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

from onnxprune.calibrate import Calibration
from onnxprune.data.columns import Spool, Stored, Track
from onnxprune.model import Model
from onnxprune.node import Array, Node, Tensor
from onnxprune.runtime import Session, trim
from onnxprune.taps import part_of, tapped

__all__ = ["Stepwise", "lasting"]


class Stepwise:
    """A graph that is run over the data in steps, and may be edited between them where it has not run yet.

    The caller promises that once a tensor was computed, all that it was computed from stays: nodes, wiring, constants.
    What was asked for tells what was computed: a node runs when a name first needs it, with the weights it then has.
    Values are those of a plain run, up to rounding: at a boundary, operators are not fused and halves are rounded.
    The boundary lies on disk, graph inputs come from the data: memory does not grow with the number of samples.
    """

    def __init__(self, data: Calibration, batch: int | None = None) -> None:
        """Begin at the graph inputs; ``batch`` samples are run at once, or as many as suit graph and data."""
        trim()
        self._data, self._batch = data, batch
        self._boundary: dict[str, list[Stored]] = {}  # of each tensor an array for every batch

    def batches(self, model: Model, names: Sequence[str], later: Collection[str] = ()) -> Iterator[dict[str, Array]]:
        """The tensors ``names`` of the model as it is now, for each batch of the data.

        ``later`` are the tensors to be asked for in later steps: what they need of what has run is kept once all
        batches were taken. Any other tensor can be asked for, at the price of nodes that run again; so do those of
        which no value can be kept: of sequences, strings, and types that NumPy lacks.
        """
        held, part = self._boundary, part_of(model, names, self._boundary)
        at_hand = held.keys() | {name for node in part.nodes for name in _lasting(node)}
        kept = part_of(model, later, at_hand).reads & at_hand
        fresh, asked = sorted(kept - held.keys()), [name for name in names if name not in part.reads]
        session = tapped(model, [*asked, *fresh], given=held) if part.nodes else None
        with ExitStack() as stack:
            tracks = {name: Track(stack.enter_context(Spool())) for name in fresh}
            constants = {t.name: t.value() for t in map(model.tensor, names) if t.constant}
            given = {name: held[name] for name in held if name in part.reads}
            step = _Step(names, constants, given, session, tracks)
            yield from map(step, count(), self._data.batches(self._batch))  # a loop would hold on to its batch
            self._boundary = {name: tracks[name].arrays() if name in tracks else held[name] for name in sorted(kept)}


@dataclass(frozen=True, eq=False)
class _Step:
    """What is done with every batch; without a session there is nothing to compute."""

    names: Sequence[str]
    constants: Mapping[str, Array]
    given: Mapping[str, list[Stored]]
    session: Session | None
    tracks: Mapping[str, Track]

    def __call__(self, number: int, feeds: Mapping[str, Array]) -> dict[str, Array]:
        read = {name: arrays[number].whole() for name, arrays in self.given.items()}
        known = {**self.constants, **feeds, **read}
        if self.session is not None:
            known |= zip(self.session.outputs, self.session(known), strict=True)
        for name, track in self.tracks.items():
            track.add(known[name])
        return {name: known[name] for name in self.names}


def _lasting(node: Node) -> list[str]:
    """What a node computes that can be kept and is worth it: what is computed from constants alone is not."""
    sparse = node.op == "Constant"
    return [t.name for t in node.outputs if t is not None and not sparse and lasting(t)]


def lasting(tensor: Tensor) -> bool:
    """Whether onnxruntime gives and takes what is computed as an array of one of NumPy's own types of numbers."""
    return not tensor.fixed and tensor.dtype is not None and tensor.dtype.isbuiltin == 1 and tensor.dtype.kind in "biuf"
