"""The environment of the peers: torch and what else ``coverage.txt`` lists, apart from our own."""

from __future__ import annotations

import os
import subprocess
import venv
from argparse import Namespace
from pathlib import Path

__all__ = ["ONE_THREAD", "ROOT", "environment", "interpreter"]

ROOT = Path(__file__).parents[1]
REQUIREMENTS = Path(__file__).with_name("coverage.txt")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def interpreter(args: Namespace) -> Path:
    """The Python with the peers: the one that is given, or that of an environment in the folder ``args.kept``."""
    return args.torch or environment(args.kept / "venv")


def environment(folder: Path) -> Path:
    """The Python of the environment with torch, which is made where it is missing."""
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.stat().st_mtime < REQUIREMENTS.stat().st_mtime:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        ready.touch()
    return python
