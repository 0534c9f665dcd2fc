"""What every random graph goes through in the code generator: compiled, run, and held against onnxruntime."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from generator import random_feeds, random_model

from onnxprune.backends import load_target, tvm
from onnxprune.backends.static import fix_shapes
from onnxprune.runtime import Session

RTOL = 1e-4  # of the largest output
HALF = 3e-2  # where numbers are stored in half precision
BITS = (128, 256, 512)  # of the registers, in turn


def check(seed: int) -> str:
    """Whether the graph of a seed was ``compiled`` or ``named`` as one that cannot be, or is ``not finite``."""
    proto = random_model(seed, rare=True)
    feeds = random_feeds(proto, seed)
    session = Session(proto)
    want = session(feeds)
    if not all(np.isfinite(each).all() for each in want):
        return "not finite"
    shapes = {name: feed.shape for name, feed in feeds.items()}
    if tvm.unsupported(fix_shapes(proto, shapes)):
        return "named"
    got = _run(proto, shapes, [feeds[name] for name in session.inputs], seed)
    for ours, theirs in zip(got, want, strict=True):
        assert_close(ours, theirs)
    return "compiled"


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal up to rounding."""
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    bound = (HALF if theirs.dtype == np.float16 else RTOL) * max(float(np.abs(theirs).max(initial=0)), 1e-3)
    difference = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0))
    assert difference <= bound, f"differs by {difference:.3g} where {bound:.3g} is allowed"


def _run(
    proto: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], inputs: list[np.ndarray], seed: int
) -> list[np.ndarray]:
    host = load_target("host")
    bits = [each for each in BITS if each <= host.vector_bits]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "model.so")
        tvm.build(proto, replace(host, vector_bits=bits[seed % len(bits)]), library, shapes)
        return tvm.run(library, inputs)


def report(seed: int) -> str:
    """What is wrong with the graph of a seed; empty when nothing is."""
    try:
        check(seed)
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {' '.join(str(error).split())[:600]}"
    return ""
