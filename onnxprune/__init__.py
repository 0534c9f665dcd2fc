"""onnxprune makes neural networks small and fast at the level of the ONNX graph.

    import onnxprune as op
    result = op.compress("model.onnx", passes="fold,prune:macs=50%", calib="calib.npz")
    result.save("out/")

What is named here is the public API; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxprune.axes.silencing import silenced
    from onnxprune.compression import Result, compress
    from onnxprune.curves.curves import Curves
    from onnxprune.curves.run import sensitivity
    from onnxprune.data.preprocess import Preprocess
    from onnxprune.errors import (
        BackendError,
        ModelError,
        OnnxPruneError,
        PassContractError,
        PassError,
        UsageError,
    )
    from onnxprune.explained.explain import explain
    from onnxprune.explained.explanation import Explanation
    from onnxprune.manager import PassManager
    from onnxprune.model import Model
    from onnxprune.passes import Analysis, Changed, Context, Pass, Unchanged
    from onnxprune.recipe import Recipe
    from onnxprune.report import Report
    from onnxprune.sweeps.run import sweep
    from onnxprune.sweeps.sweep import Point, Sweep

    __version__: str

__all__ = [
    "Analysis",
    "BackendError",
    "Changed",
    "Context",
    "Curves",
    "Explanation",
    "Model",
    "ModelError",
    "OnnxPruneError",
    "Pass",
    "PassContractError",
    "PassError",
    "PassManager",
    "Point",
    "Preprocess",
    "Recipe",
    "Report",
    "Result",
    "Sweep",
    "Unchanged",
    "UsageError",
    "__version__",
    "compress",
    "explain",
    "sensitivity",
    "silenced",
    "sweep",
]

_HOMES = {
    "axes.silencing": ("silenced",),
    "compression": ("Result", "compress"),
    "curves.curves": ("Curves",),
    "curves.run": ("sensitivity",),
    "data.preprocess": ("Preprocess",),
    "errors": ("BackendError", "ModelError", "OnnxPruneError", "PassContractError", "PassError", "UsageError"),
    "explained.explain": ("explain",),
    "explained.explanation": ("Explanation",),
    "manager": ("PassManager",),
    "model": ("Model",),
    "passes": ("Analysis", "Changed", "Context", "Pass", "Unchanged"),
    "recipe": ("Recipe",),
    "report": ("Report",),
    "sweeps.run": ("sweep",),
    "sweeps.sweep": ("Point", "Sweep"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a checker that saw it would believe in any name

    def __getattr__(name: str) -> Any:
        """A public name, imported on first use (PEP 562)."""
        if name == "__version__":
            from importlib.metadata import version

            return version("onnxprune")
        if name not in _HOME:
            raise AttributeError(f"module 'onnxprune' has no attribute '{name}'")
        globals()[name] = value = getattr(import_module(f"onnxprune.{_HOME[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
