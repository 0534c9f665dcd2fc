"""Who takes part: our own pass with some options, and the peers, each brought to the same share of the MACs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from benchmarks.accuracy.arena import Arena, Entry
from benchmarks.environment import ONE_THREAD, ROOT
from onnxprune.errors import OnnxPruneError
from onnxprune.model import Model

__all__ = ["OURS", "Contestant", "Ours", "Peer", "nearest", "peers"]

PROBES, MOST = 9, 0.95  # how often a ratio is tried, and the largest
REBUILT = {"lenet5", "vgg_m", "cifar10_resnet20_bn"}  # those that accuracy/rebuilt.py has
PEERS = ("onnxsim Wanda", "onnxsim L2", "Torch-Pruning L2", "Torch-Pruning FPGM", "Torch-Pruning group")

Ask: TypeAlias = Callable[[float, bool], tuple[Path, float]]  # ratio, final; where the network is, seconds


class Contestant(Protocol):
    """One way to prune a network to a share of its MACs; ``random`` where the seed matters."""

    @property
    def name(self) -> str:
        """As it stands in tables."""
        ...

    @property
    def random(self) -> bool:
        """Whether the seed matters."""
        ...

    def cut(self, arena: Arena, share: float) -> Entry:
        """The network with about this share of the MACs; raises OnnxPruneError where there is none."""
        ...


@dataclass(frozen=True)
class Ours:
    """``fold,prune`` with options."""

    name: str
    options: str = ""
    random: bool = True

    def cut(self, arena: Arena, share: float) -> Entry:
        """As the pass does it."""
        return arena.passed(f"fold,prune:macs={100 * share:g}%{self.options}")


OURS = (Ours("onnxprune"), Ours("align=1", ":align=1"), Ours("L2, not healed", ":importance=l2:heal=none", False))


@dataclass(frozen=True)
class Peer:
    """A process that cuts by ratio; the ratio is searched that leaves the share of MACs most nearly."""

    name: str
    ask: Ask
    random: bool = False

    def cut(self, arena: Arena, share: float) -> Entry:
        """Ratios in halves, then the nearest once more in its final form."""

        def left(ratio: float) -> float:
            return arena.left(Model.load(self.ask(ratio, False)[0]))

        path, seconds = self.ask(nearest(left, share), True)
        return Entry(Model.load(path), seconds)


def nearest(left: Callable[[float], float], share: float) -> float:
    """The ratio with which what is left comes nearest to a share; ``left`` falls as the ratio grows."""
    low, high, tried = 0.0, MOST, dict[float, float]()
    for _ in range(PROBES):
        ratio = (low + high) / 2
        tried[ratio] = left(ratio)
        low, high = (ratio, high) if tried[ratio] > share else (low, ratio)
    return min(tried, key=lambda ratio: abs(tried[ratio] - share))


@contextmanager
def peers(python: Path, model: Path, calib: Path, folder: Path) -> Iterator[Sequence[Contestant]]:
    """The peers that take a network, each a process that lives as long as the context."""
    fitting = [name for name in PEERS if name.startswith("onnxsim") or model.stem in REBUILT]
    with ExitStack() as stack:
        yield [Peer(name, stack.enter_context(_asked(python, name, model, calib, folder))) for name in fitting]


@contextmanager
def _asked(python: Path, name: str, model: Path, calib: Path, folder: Path) -> Iterator[Ask]:
    words = [str(python), "-W", "ignore", "-m", "benchmarks.accuracy.peers", name, *map(str, (model, calib))]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(words, cwd=ROOT, env=ONE_THREAD, **pipes) as process:

        def ask(ratio: float, final: bool) -> tuple[Path, float]:
            path = folder / f"{name}-{ratio:.6f}{'-final' if final else ''}.onnx"
            print(json.dumps({"ratio": ratio, "final": final, "path": str(path)}), file=process.stdin, flush=True)
            told = json.loads(process.stdout.readline() or '{"error": "the process died"}') if process.stdout else {}
            if "error" in told:
                raise OnnxPruneError(f"{name}: {told['error']}")
            return path, told["seconds"]

        try:
            yield ask
        finally:
            process.kill()
