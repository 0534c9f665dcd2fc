"""The environments of the peers, apart from our own: torch and what else ``coverage.txt`` lists, unless told."""

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


def environment(folder: Path, requirements: Path = REQUIREMENTS) -> Path:
    """The Python of the environment with what a file lists, which is made where it is missing."""
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.stat().st_mtime < requirements.stat().st_mtime:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        ready.touch()
    return python
