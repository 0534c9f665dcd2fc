"""Weights that a library has copied do not stay in memory twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxprune.backends import load_target, pages, tvm

from .test_tvm import net

WIDE = """(float[1,1024] x) => (float[1,1024] y) <float[1024,1024] w, float[1024,1024] v>
    { m = MatMul(x, w)  y = MatMul(m, v) }"""
MEGABYTES = 8  # of weights

TAKEN = """
import sys
from pathlib import Path
import numpy as np
import tvm as upstream
from onnxprune.backends import pages, tvm
if sys.argv[2] == "kept":
    pages.give_back = tvm.give_back = lambda library: None
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
upstream.relax.VirtualMachine
before = resident()
program = tvm.load(Path(sys.argv[1]))
program([np.zeros((1, 1024), np.float32)])
print(resident() - before)
"""


def taken(library: Path, how: str) -> float:
    """Megabytes that loading and one run take in a process of their own."""
    done = subprocess.run([sys.executable, "-c", TAKEN, library, how], check=True, capture_output=True, text=True)
    return float(done.stdout)


@pytest.mark.skipif(not pages.MAPS.exists(), reason="the system does not tell what is mapped")
def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    library = tmp_path / "model.so"
    tvm.build(net(WIDE), load_target("host"), library, {})
    once, twice = taken(library, "given back"), taken(library, "kept")
    assert twice - once > 0.8 * MEGABYTES
    assert once < 1.8 * MEGABYTES
