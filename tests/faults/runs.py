"""Real runs of the command in processes of their own, to be disturbed; and what a folder then holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.drafts import PREFIX

MODELS = Path(__file__).parents[2] / "models"
NET, CALIB = str(MODELS / "digits_resnet.onnx"), str(MODELS / "digits.calib.npz")
OTHER = ("--passes", "fold,prune:macs=80%:heal=none", "--calib", CALIB)
WORDS = ("--passes", "fold,prune:macs=50%", "--calib", CALIB)
TIMED = ("seconds", "latency", "latency_ms")

# Kills what follows just before its n-th change to a file system; for n = 0 it says at the end how many there were.
STEPPING = """
import atexit, os, signal, sys
left = int(sys.argv.pop(1))
if not left:
    atexit.register(lambda: print("changes:", -left))
CHANGES = {"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove", "os.symlink", "tempfile.mkdtemp"}

def count(event, args):
    global left
    if event in CHANGES or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
"""


@dataclass(frozen=True)
class Place:
    """Where runs work: their cache, their temporary files, and the folder they write to."""

    root: Path

    @classmethod
    def made(cls, root: Path) -> Place:
        """A place of which every folder is there but ``out``."""
        for name in ("cache", "tmp", "work"):
            (root / name).mkdir(exist_ok=True)
        return cls(root)

    @property
    def out(self) -> Path:
        """The output folder."""
        return self.root / "work" / "out"

    def start(self, *words: str, code: Iterable[str] = ("-m", "onnxprune"), **more: str) -> subprocess.Popen[str]:
        """A run of the command in a process group of its own."""
        own = {"XDG_CACHE_HOME": str(self.root / "cache"), "TMPDIR": str(self.root / "tmp")}
        env = {**os.environ, **own, "OPENBLAS_NUM_THREADS": "1", **more}  # more threads get in each other's way
        return subprocess.Popen(
            [sys.executable, *code, *words],
            cwd=self.root / "work", env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        """Exit code and standard error of a run that nobody disturbs."""
        process = self.start(*words, **more)
        _, said = process.communicate(timeout=300)
        return process.returncode, said

    def compress(self, *words: str) -> tuple[int, str]:
        """A run of the network in the repository, into ``out``."""
        return self.run(NET, *words, "-o", str(self.out))

    def left_over(self) -> list[str]:
        """The drafts that stand about."""
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob(f"{PREFIX}*"))


def contents(folder: Path) -> dict[str, Any]:
    """All files of a folder but drafts, and of a report what does not depend on the clock."""
    paths = [p for p in folder.rglob("*") if p.is_file() and not any(s.startswith(PREFIX) for s in p.parts)]
    return {str(p.relative_to(folder)): _content(p) for p in paths}


def handles_signals(process: subprocess.Popen[str]) -> bool:
    """Wait until the command catches SIGTERM; before that, Python is starting."""
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        caught = next((line for line in lines if line.startswith("SigCgt")), "SigCgt:\t0")
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return True
        time.sleep(0.005)
    return False


def _content(path: Path) -> Any:
    return _untimed(json.loads(path.read_text())) if path.name == "report.json" else path.read_bytes()


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(held) for key, held in value.items() if key not in TIMED}
    return [_untimed(each) for each in value] if isinstance(value, list) else value
