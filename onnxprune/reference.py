"""The original on some data, to hold results against: what it computes is computed once, whatever their number.

Its outputs are kept on disk. Where only some tensors become others, a result runs from what lies before them, which the
original has computed: of a network that is changed in one place after the other, that is half of it on the average.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from onnxprune.calibrate import Calibration
from onnxprune.fidelity import numbered
from onnxprune.loss import Loss
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session
from onnxprune.stepwise import Stepwise, lasting
from onnxprune.taps import tapped

__all__ = ["Change", "Reference", "Run", "behind"]

Run: TypeAlias = Callable[[Mapping[str, Array]], Sequence[Array]]  # from what lies before a change to its outputs


@dataclass(frozen=True)
class Change:
    """What becomes another: ``outputs`` of the graph; and what stays, ``given`` that lies right before."""

    given: tuple[str, ...]
    outputs: tuple[str, ...]


def behind(model: Model, tensors: Iterable[str]) -> Change:
    """What a change of these tensors makes of the graph, where every node that computes one may be another, too."""
    reached, read = set(tensors), dict[str, None]()
    for node in model.nodes:
        held = [t.name for t in (*node.inputs, *node.captures) if t is not None]
        made = [t.name for t in node.outputs if t is not None]
        if not reached.isdisjoint((*held, *made)):
            reached.update(made)
            read |= dict.fromkeys(held)
    inputs = {t.name for t in model.inputs}
    given = (name for name in read if name not in reached | inputs and lasting(model.tensor(name)))
    return Change(tuple(given), tuple(t.name for t in model.outputs if t.name in reached))


class Reference:
    """A network on some data: its outputs, and as far as it was asked for what lies before a change."""

    def __init__(self, original: Model, data: Calibration) -> None:
        """Nothing runs yet. The network must stay as it is."""
        self._original, self._data = original, data
        self._names = [t.name for t in original.outputs]
        self._whole = Change((), tuple(self._names))
        self._outputs, self._front = Stepwise(data), Stepwise(data)

    def losses(
        self, results: Sequence[Model], change: Change | None = None, later: Collection[Change] = ()
    ) -> list[float]:
        """The loss (``Loss``) of every result, all of which differ from the original only behind the ``change``.

        ``later`` are changes to be asked for in later calls: what lies before them is kept.
        """
        change = change or self._whole
        if not change.outputs:
            return [0.0 for _ in results]
        sessions = [tapped(result, change.outputs, given=change.given) for result in results]
        runs = [_making(each, change.outputs) for each in sessions]
        return [each.value for each in self.compared(runs, change, later)]

    def typical(self, result: Model) -> float:
        """The typical loss of a result, over samples."""
        run = _making(tapped(result, self._whole.outputs), self._whole.outputs)
        return self.compared([run], self._whole)[0].typical

    def compared(self, runs: Sequence[Run], change: Change, later: Collection[Change] = ()) -> list[Loss]:
        """The loss of what each of the runs makes, batch by batch, of the graph inputs and of what is given."""
        found = [Loss(len(change.outputs)) for _ in runs]
        kept = {name for each in later for name in each.given}
        inputs = [t.name for t in self._original.inputs]
        fronts = self._front.batches(self._original, [*inputs, *change.given], kept)
        wanted = self._outputs.batches(self._original, change.outputs, self._names)
        for (span, _), front, ys in zip(numbered(self._data), fronts, wanted, strict=True):
            for each, run in zip(found, runs, strict=True):
                each.add([ys[name] for name in change.outputs], run(front), span.stop - span.start)
        return found


def _making(session: Session, outputs: Sequence[str]) -> Run:
    return lambda feeds: session(feeds, outputs)
