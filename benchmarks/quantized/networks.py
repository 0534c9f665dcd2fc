"""The networks that are quantized: as they are, with their channels rescaled, and pruned to half the MACs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

import onnxprune as op
from benchmarks.data import MODELS, ZOO, beside
from onnxprune.axes.linear import Linear, bias_of, linear
from onnxprune.cache import Cache
from onnxprune.errors import OnnxPruneError
from onnxprune.model import Model
from onnxprune.node import Array

__all__ = ["AS_IT_IS", "PRUNED", "Network", "networks", "rescaled"]

AS_IT_IS, PRUNED = "as it is", "half the MACs"
SPREADS = (2.0, 3.5)  # of e^U(−a, a)
PLAIN = "vgg_m"  # the one that is rescaled: layers behind one another, with nothing between that is not homogeneous
HOMOGENEOUS = frozenset({"Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Dropout", "Identity", "Flatten"})


@dataclass(frozen=True)
class Network:
    """A file with the data it is calibrated and tested on."""

    name: str
    form: str
    path: Path
    calib: Path
    test: Path

    @property
    def digest(self) -> str:
        """Of the file: figures are those of these very weights."""
        return sha256(self.path.read_bytes()).hexdigest()[:12]


def networks(folder: Path, wanted: Callable[[str], bool], forms: Sequence[str]) -> Iterator[Network]:
    """Those with data beside them and in the forms that are wanted; what is made lies in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for place in (MODELS, ZOO) for path in sorted(place.glob("*.onnx")) if wanted(path.stem)]
    for path in files:
        calib, test = (beside(path, kind) for kind in ("calib", "test"))
        if calib is None or test is None:
            continue
        if "plain" in forms:
            yield Network(path.stem, AS_IT_IS, path, calib, test)
        if "rescaled" in forms and path.stem == PLAIN:
            for spread in SPREADS:
                made = _kept(folder, path, f"rescaled {spread:g}", partial(rescaled, spread=spread, seed=0))
                yield Network(path.stem, f"rescaled, a = {spread:g}", made, calib, test)
        if "pruned" in forms:
            yield Network(path.stem, PRUNED, _kept(folder, path, "pruned", partial(_pruned, calib=calib)), calib, test)


def _kept(folder: Path, source: Path, what: str, make: Callable[[Path], Model]) -> Path:
    key = sha256(what.encode() + source.read_bytes()).hexdigest()[:12]
    path = folder / f"{source.stem}-{key}.onnx"
    if not path.exists():
        make(source).save(path)
    return path


def _pruned(path: Path, calib: Path) -> Model:
    return op.compress(path, "fold,prune:macs=50%", calib=calib, cache=Cache(None)).model


def rescaled(path: Path, spread: float, seed: int) -> Model:
    """The same function with other weights: every channel between two layers times e^U(−a, a), what reads it by that.

    Raises OnnxPruneError where no two layers have only what is homogeneous between them.
    """
    model, rng = op.compress(path, "fold", cache=Cache(None)).model, np.random.default_rng(seed)
    pairs = [(view, after) for view in _views(model) if (after := _after(model, view)) is not None]
    if not pairs:
        raise OnnxPruneError(f"{path.name}: there is nothing to rescale")
    weights = {view.weight.name: view.weight.value().astype(np.float64) for pair in pairs for view in pair}
    biases = dict[str, Array]()
    for view, after in pairs:
        scale = np.exp(rng.uniform(-spread, spread, view.weight.size(view.rows)))
        weights[view.weight.name] *= _along(scale, view.rows, weights[view.weight.name].ndim)
        weights[after.weight.name] /= _along(scale, after.columns, weights[after.weight.name].ndim)
        if view.bias is not None and (bias := bias_of(view)) is not None:
            biases[view.bias.name] = bias * scale
    for name, value in {**weights, **biases}.items():
        model.put(name, value.astype(np.float32))
    return model


def _views(model: Model) -> list[Linear]:
    return [view for node in model.nodes if (view := linear(node)) is not None and view.plain and view.groups == 1]


def _after(model: Model, view: Linear) -> Linear | None:
    """The layer that alone reads what a layer makes."""
    readers = model.consumers(view.y.name)
    while len(readers) == 1 and readers[0].op in HOMOGENEOUS:
        readers = model.consumers(readers[0].y().name)
    after = linear(readers[0]) if len(readers) == 1 else None
    alike = after is not None and after.plain and after.groups == 1
    return (
        after
        if alike and after is not None and after.weight.size(after.columns) == view.weight.size(view.rows)
        else None
    )


def _along(scale: Array, dim: int, rank: int) -> Array:
    return scale.reshape([-1 if each == dim else 1 for each in range(rank)])
