"""What every random graph goes through: load, save, cut, fold, prune, each against the exact oracle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from contexts import context
from cuts import random_cut
from generator import random_feeds, random_model
from oracle import RTOL, assert_same_function, run, silenced

from fuzz.shrink import as_text, shrunk
from onnxprune.axes.silencing import removed
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.passes import Unchanged
from onnxprune.recipe import Recipe
from onnxprune.runtime import Session
from passes.fold import Fold
from passes.prune import PruneChannels

PRUNED = 8  # one graph in so many goes through the passes as a whole
HALF = 3e-2  # what folding may change where weights are stored in half precision


class GraphError(Exception):
    """A graph that did not come through; ``stage`` says where."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        self.stage = stage
        self.kind = type(cause).__name__
        text = " ".join(str(cause).split())[:600]
        self.signature = (stage, self.kind, re.sub(r"'[^']*'|\[.*?\]|\d[\d.e+-]*|\w*\d\w*", "…", text)[:60])
        super().__init__(f"{stage}: {self.kind}: {text}")


@contextmanager
def stage(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise GraphError(name, error) from error


def check(seed: int) -> str:
    """The random graph of that seed, from the wider generator."""
    return examine(random_model(seed, rare=True), seed)


def examine(proto: onnx.ModelProto, seed: int) -> str:
    """Whether the graph was ``cut`` or stayed ``whole``; raises GraphError where the oracle says no.

    Graphs with an odd seed are cut as they are, those with an even one after they are folded.
    """
    with stage("load"):
        model = Model.load(proto)
        if not _reads_the_file(model, proto, seed):
            return "not finite"  # nothing that differs would be seen
    cuts = _cut("cut", model, model, seed) if seed % 2 else 0
    with stage("fold"):
        folded = model.copy()
        Fold().run(folded, context(model))
        rtol = HALF if _has_halves(model) else RTOL
        assert_same_function(folded, model, rtol)
        assert isinstance(Fold().run(folded.copy(), context(model)), Unchanged), "folds twice"
        _assert_stored_alike(folded)
    cuts += 0 if seed % 2 else _cut("cut after fold", model, folded, seed, rtol)
    if seed % PRUNED == 0:
        with stage("prune"):
            pruned = model.copy()
            passes = Recipe.from_passes(
                f"fold,prune:ratio={20 + seed // PRUNED % 7 * 10}%:heal=none:align=1:min=1"
            ).passes
            PassManager(passes).run(pruned, context(model), verify_each=True)
            assert_same_function(pruned, silenced(model, removed(pruned)), rtol)
        with stage("replay"):
            _assert_replayed(model, pruned)
    return "cut" if cuts else "whole"


def _cut(name: str, model: Model, start: Model, seed: int, rtol: float = RTOL) -> int:
    """Random cuts of ``start``, exact in terms of ``model``; how many channels of constants went."""
    with stage(name):
        after, spec = random_cut(start, seed)
        assert_same_function(after, silenced(model, spec), rtol)
        _assert_stored_alike(after)
    return sum(len(gone) for dims in spec.values() for gone in dims.values())


def _assert_replayed(model: Model, pruned: Model) -> None:
    """What was removed, told to ``prune``, gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder, "prune.json")).write_text(json.dumps(removed(pruned)), encoding="utf-8")
        again = model.copy()
        PassManager((Fold(), PruneChannels(spec=path, heal="none"))).run(again, context(model))
    assert again.fingerprint() == pruned.fingerprint(), "the prune spec gives another network"


def _reads_the_file(model: Model, proto: onnx.ModelProto, seed: int) -> bool:
    """Whether the outputs are finite; they must be those of the file."""
    feeds, finite = random_feeds(proto, seed), True
    for ours, files in zip(run(model, feeds), Session(proto, threads=1, optimise=False)(feeds), strict=True):
        assert ours.shape == files.shape
        if finite := finite and bool(np.isfinite(files).all()):
            assert np.abs(ours - files).max(initial=0) <= RTOL * max(np.abs(files).max(initial=0), 1e-3)
    return finite


def _assert_stored_alike(model: Model) -> None:
    """A saved model that is loaded and saved again has the same bytes."""
    data = model.proto().SerializeToString(deterministic=True)
    again = Model.load(onnx.ModelProto.FromString(data)).proto().SerializeToString(deterministic=True)
    assert again == data, "loaded and saved again, the bytes differ"


def _has_halves(model: Model) -> bool:
    return any(t.dtype == np.float16 for t in model.constants)


@dataclass(frozen=True)
class Same:
    """Whether a graph fails as another did, under one of a few seeds for its cuts."""

    signature: tuple[str, str, str]
    seeds: Sequence[int]

    def __call__(self, proto: onnx.ModelProto) -> bool:
        return any(self._fails(proto, seed) for seed in self.seeds)

    def _fails(self, proto: onnx.ModelProto, seed: int) -> bool:
        try:
            examine(proto, seed)
        except GraphError as failure:
            return failure.signature == self.signature
        return False


def crashes_untouched(seed: int) -> bool:
    """Whether onnxruntime, as it comes, crashes on the graph before anything is done to it."""
    opened = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(random_model(seed, rare=True).SerializeToString())
        return subprocess.run([sys.executable, "-c", opened, path], capture_output=True, check=False).returncode < 0


def report(seed: int) -> str:
    """What is wrong with the graph of a seed, as the smallest graph that shows it; empty when nothing is."""
    proto = random_model(seed, rare=True)
    try:
        examine(proto, seed)
    except GraphError as failure:
        smallest = shrunk(proto, Same(failure.signature, [seed + PRUNED * step for step in range(3)]))
        again = f"PYTHONPATH=tests .venv/bin/python -m fuzz graphs {seed}"
        return f"seed {seed}: {failure}\nrun again with: {again}\n{as_text(smallest)}"
    return ""
