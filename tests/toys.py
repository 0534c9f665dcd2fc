"""Small passes and a small network to try the pass manager, ``compress`` and the command line with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from oracle import net

import onnxprune
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.compression import Result
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.options import option
from onnxprune.passes import Changed, Context, Unchanged
from onnxprune.runtime import Session

NET = """(float[N,3,4,4] x) => (float[N,5] y) <float[4,3,3,3] w, float[4] b, float[16,5] v>
    { a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)  r = Relu(a)  f = Flatten(r)  y = MatMul(f, v) }"""
DRAWN = """(float[2,4] x) => (int32[2,3] y)
    { y = Multinomial<sample_size=3, seed=1.0>(x) }"""


def samples(count: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """Calibration data for ``NET``."""
    return {"x": np.random.default_rng(seed).normal(size=(count, 3, 4, 4)).astype(np.float32)}


def calibration(model: Model) -> Calibration:
    """The same, loaded."""
    return Calibration.load(samples(), model)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Multiply the kernel by a factor."""

    name: ClassVar[str] = "scale"
    by: float = option(0.5, "the factor")

    def run(self, model: Model, ctx: Context) -> Changed | Unchanged:
        """Scale."""
        if self.by == 1:
            return Unchanged("a factor of 1 changes nothing")
        model.put("w", model.tensor("w").value() * np.float32(self.by))
        model.skip("v", "is no kernel")
        return Changed(f"scaled 'w' by {self.by:g}", ("'v' too",) if self.by < 0.2 else ())


@dataclass(frozen=True, kw_only=True)
class Needy:
    """Do nothing, but with calibration data."""

    name: ClassVar[str] = "needy"
    requires: ClassVar[tuple[str, ...]] = ("calibration",)

    def run(self, model: Model, ctx: Context) -> Changed | Unchanged:
        """Look at the data."""
        return Unchanged(f"{ctx.calibration.count if ctx.calibration else 0} samples")


@dataclass(frozen=True, kw_only=True)
class Failing:
    """Raise what the option says."""

    name: ClassVar[str] = "failing"
    error: str = "value"

    def run(self, model: Model, ctx: Context) -> Changed | Unchanged:
        """Fail."""
        raise {"value": ValueError("seven\nis odd"), "pass": PassError("no way"), "key": KeyboardInterrupt()}[
            self.error
        ]


def compress(model: Any, *args: Any, **given: Any) -> Result:
    """``onnxprune.compress`` with nothing kept on disk."""
    return onnxprune.compress(model, *args, **{"cache": Cache(None), **given})


def labelled(model: Model, count: int = 20) -> dict[str, np.ndarray]:
    """Test data on which the model is right in all cases but the first."""
    data = samples(count, seed=1)
    labels = Session(model.proto())(data)[0].argmax(axis=1)
    labels[0] = (labels[0] + 1) % 5
    return {**data, "labels": labels}


@dataclass(frozen=True)
class Outcome:
    """What a run of the command came to."""

    code: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Outcome]

TOYS = {each.name: each for each in (Scale, Needy, Failing)}


def doing(run: Callable[[Model, Context], Any], **attributes: Any) -> Any:
    """A pass ``toy`` that is nothing but a function."""
    body = {"name": "toy", "run": lambda self, model, ctx: run(model, ctx), **attributes}
    return dataclass(frozen=True, kw_only=True)(type("Toy", (), body))()


def write_net(folder: Path, text: str = NET) -> Path:
    """The network as a file in ``folder``."""
    net(text).save(folder / "net.onnx")
    return folder / "net.onnx"


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, hidden or not."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
