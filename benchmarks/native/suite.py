"""The networks that code is generated for: of the zoo and of this repository, made ones, and all of them pruned."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import onnx

import onnxprune as op
from benchmarks.data import MODELS, ZOO, beside
from benchmarks.native.made import MADE
from benchmarks.native.worker import save_feeds
from benchmarks.scaling import context
from onnxprune.analyses.cost import NodeCosts, Stats, Totals
from onnxprune.backends import load_target
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.errors import unknown
from onnxprune.feeds import batches, made_up
from onnxprune.passes import Context

__all__ = ["ALIGNED", "AS_IT_IS", "FORMS", "ODD", "Network", "forms", "networks"]

AS_IT_IS, ODD, ALIGNED = "as it is", "odd", "aligned"
FORMS = (AS_IT_IS, ODD, ALIGNED)
LOOPS = frozenset({"GRU", "If", "LSTM", "Loop", "RNN", "Scan"})


@dataclass(frozen=True, eq=False)
class Network:
    """A file, the form of the network it holds, and the file whose data it is run on."""

    name: str
    path: Path
    form: str
    origin: Path

    @cached_property
    def model(self) -> op.Model:
        """What the file holds."""
        return op.Model.load(self.path)

    @cached_property
    def context(self) -> Context:
        """What analyses are given, without data."""
        return context(self.model)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the inputs; a size that the file leaves open is 1."""
        return self.context.shapes

    @cached_property
    def costs(self) -> Totals:
        """Its MACs, bytes of weights and the planned peak of activations."""
        return self.model.get(Stats(), self.context)

    def feeds(self, path: Path) -> Path:
        """A file with the inputs it is run on, in graph order: a sample of its data, else made up."""
        data = beside(self.origin, "calib")
        found = data and next(iter(batches(Calibration.load(data, self.model), self.shapes)), None)
        given = found or made_up(self.model, self.shapes, seed=0)
        save_feeds(path, [given[tensor.name] for tensor in self.model.inputs])
        return path


def networks(folder: Path, patterns: Sequence[str]) -> Iterator[Network]:
    """Those whose names match, by size; what is made is written into ``folder``.

    Ends the program where a pattern names none.
    """
    files = {path.stem: path for place in (MODELS, ZOO) for path in sorted(place.glob("*.onnx"))}
    names = [*files, *MADE]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            sys.exit(unknown("network", pattern, names))
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if any(fnmatch(name, pattern) for pattern in patterns):
            path = files.get(name) or _made(folder, name)
            network = Network(name, path, AS_IT_IS, path)
            if name in MADE or _convolutional(network):
                yield network


def forms(network: Network, folder: Path, wanted: Sequence[str]) -> Iterator[Network]:
    """A network as it is, and pruned without data to half its MACs: speed does not depend on which channels stay."""
    for form in wanted:
        if form == AS_IT_IS:
            yield network
        else:
            align = 1 if form == ODD else load_target("host").align
            passes = f"fold,prune:macs=50%:align={align}:importance=l2:heal=none"
            yield Network(network.name, _pruned(network, folder, passes), form, network.origin)


def _made(folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(MADE[name](), path)
    return path


def _convolutional(network: Network) -> bool:
    """Most of the MACs are in convolutions, and all is computed in one go."""
    costs = network.model.get(NodeCosts(), network.context)
    convolved = sum(cost.macs for cost in costs if cost.op == "Conv")
    return 2 * convolved > sum(cost.macs for cost in costs) and not any(cost.op in LOOPS for cost in costs)


def _pruned(network: Network, folder: Path, passes: str) -> Path:
    key = sha256(passes.encode() + network.path.read_bytes()).hexdigest()[:12]
    path = folder / f"{network.name}-{key}.onnx"
    if not path.exists():
        op.compress(network.path, passes, cache=Cache(None)).model.save(path)
    return path
