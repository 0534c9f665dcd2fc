"""Where a finished model is compiled and run: the seam, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import onnx

from onnxprune.backends.targets import Target, load_target, target_names
from onnxprune.node import Array

__all__ = ["Artifact", "Backend", "Lack", "Target", "load_target", "refusal", "target_names"]

WAY_OUT = "leave out the target and run model.onnx with onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What was built for one target; with ``to_dict`` its row in the report.

    ``bytes`` are the library's, ``folder_bytes`` those of all that a run needs. ``why`` says why it was not run,
    ``missing`` what has to be put into the folder by hand.
    """

    name: str
    artifact: Path
    bytes: int
    emit: Literal["so"] = "so"
    verified: Literal["host", "qemu", "none"] = "none"
    why: str | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    latency_ms: float | None = None
    folder_bytes: int | None = None
    missing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row, in words that JSON has."""
        return asdict(self) | {"artifact": str(self.artifact)}


class Lack(NamedTuple):
    """A node that a backend cannot compile, and why, where there is more to say than that it has no such operator."""

    op: str
    node: str
    why: str = ""

    def __str__(self) -> str:
        """As messages have it."""
        inside = "; ".join(filter(None, (self.node and f"'{self.node}'", self.why)))
        return f"{self.op} ({inside})" if inside else self.op


class Backend(Protocol):
    """A compiler for models: ``onnxprune.backends.tvm`` is one."""

    def unsupported(self, proto: onnx.ModelProto) -> list[Lack]:
        """The nodes of a model with fixed shapes that cannot be compiled, found without compiling."""

    def ready(self, target: Target) -> None:
        """Raise BackendError where nothing can be built for the target."""

    def build(
        self, proto: onnx.ModelProto, target: Target, path: Path, shapes: Mapping[str, tuple[int, ...]]
    ) -> Artifact:
        """Compile a model, with its inputs fixed to ``shapes``, into the library ``path``."""

    def lacking(self, target: Target) -> list[str]:
        """The features that this machine's processor lacks, one of the target's instruction set."""

    def load(self, path: Path) -> Callable[[Sequence[Array]], list[Array]]:
        """A library, ready to run on inputs in graph order."""


def refusal(missing: Sequence[Lack]) -> str:
    """The message for what a backend lacks."""
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"TVM cannot compile {', '.join(map(str, missing[:5]))}{more}; {WAY_OUT}"
