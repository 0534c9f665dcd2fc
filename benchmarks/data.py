"""The networks that benchmarks run on, and the data that lies beside them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODELS", "ZOO", "beside"]

MODELS = Path(__file__).parents[1] / "models"
ZOO = Path(__file__).parents[2] / "shared" / "zoo"


def beside(model: Path, kind: str) -> Path | None:
    """The data of one kind for a network or for its family (digits.calib.npz for digits_cnn), where there is any."""
    names = (model.stem, model.stem.partition("_")[0])
    return next((p for p in (model.with_name(f"{name}.{kind}.npz") for name in names) if p.exists()), None)
