"""Where figures come from: a figure without its machine and versions is none."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["load", "machine", "peak", "versions"]

ROOT = Path(__file__).parents[1]
PROCESSOR, MEMORY = "/proc/cpuinfo", "/proc/meminfo"
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
PACKAGES = ("onnxprune", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "apache-tvm")


def machine() -> dict[str, Any]:
    """The processor, the memory, and what else goes on; None where the system does not tell."""
    memory = _found(r"MemTotal:\s*(\d+) kB", MEMORY)
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _found(r"model name\s*: (.*)", PROCESSOR) or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory) * 1024 / 1e9, 1) if memory else None,
        "governor": _found(r"(\w+)", GOVERNOR),
        "load": load(),
    }


def load() -> list[float]:
    """How many processes wanted to run, over 1, 5 and 15 minutes."""
    return [round(each, 2) for each in os.getloadavg()]


def peak() -> float:
    """The resident memory of this process at its height, in MB: ``ru_maxrss`` begins with what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def versions() -> dict[str, str | None]:
    """Of all that the figures depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}, "git": _revision()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The revision of the working tree, with ``-dirty`` where it is not the tree of that revision."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def _found(pattern: str, path: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None
