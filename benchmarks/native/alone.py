"""What a process of its own is needed for: how long a network compiles, and how much memory a run takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx

from benchmarks.environment import ROOT
from benchmarks.machine import peak
from benchmarks.native.runtimes import ONNXRUNTIME, OURS, RUNTIMES, environment
from benchmarks.native.turns import spoken
from benchmarks.native.worker import load_feeds
from onnxprune.errors import BackendError, OnnxPruneError

__all__ = ["compiled", "memory"]

RUNS = 3
LIMIT = 900  # seconds
PACKAGES = {OURS: ("tvm", "onnxprune.backends.tvm"), ONNXRUNTIME: ("onnxruntime",)}


def compiled(source: Path, library: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Seconds to compile a network, by the clock and of the processor; raises BackendError where it cannot be."""
    return _alone("build", str(source), str(library), json.dumps(shapes))


def memory(runtime: str, path: Path, feeds: Path) -> dict[str, Any]:
    """Bytes above those of a process that has imported the runtime: once the network is loaded, and of a run."""
    return _alone("measure", runtime, str(path), str(feeds))


def build(source: str, library: str, shapes: str) -> dict[str, Any]:
    """In the process itself: compile for this machine."""
    from onnxprune.backends import load_target, tvm

    import_module("tvm")
    proto = onnx.load(source)
    start, used = time.perf_counter(), _used()
    try:
        built = tvm.build(
            proto, load_target("host"), Path(library), {k: tuple(v) for k, v in json.loads(shapes).items()}
        )
    except OnnxPruneError as error:
        return {"error": str(error)}
    return {"seconds": time.perf_counter() - start, "used": _used() - used, "bytes": built.bytes}


def measure(runtime: str, path: str, feeds: str) -> dict[str, Any]:
    """In the process itself: load and run."""
    for package in PACKAGES[runtime]:
        import_module(package)
    given = load_feeds(Path(feeds))
    base = _resident()
    loaded = RUNTIMES[runtime](Path(path), given, 1)
    held, loading = _resident(), int(1e6 * peak())
    Path("/proc/self/clear_refs").write_text("5")  # the height is what it is now
    for _ in range(RUNS):
        loaded.call()
    return {"loaded": held - base, "loading": loading - base, "run": int(1e6 * peak()) - base}


def _used() -> float:
    """Seconds of the processor, those of the linker included: what others do does not count."""
    return sum(os.times()[:4])


def _resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _alone(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.native.alone", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment(1), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{words[0]} took longer than {LIMIT} s") from error
    if done.returncode:
        raise BackendError(spoken(words[0], done.returncode, done.stderr))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise BackendError(found["error"])
    return found


if __name__ == "__main__":
    print(json.dumps({"build": build, "measure": measure}[sys.argv[1]](*sys.argv[2:])))
