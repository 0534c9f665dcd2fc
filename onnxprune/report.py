"""The report: what was done to a model and what came of it, for programs (JSON) and for people (a table)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxprune.analyses.cost import Totals
from onnxprune.backends import Artifact
from onnxprune.documents import as_json, headed, plain, schema_in
from onnxprune.evaluate import Accuracy, Fidelity, Latency
from onnxprune.manager import PassRecord
from onnxprune.measure import Sources
from onnxprune.output import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ModelFile", "Report", "schema"]


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model as a file: ``path`` is None while there is none, the hash then being that of what would be written."""

    path: str | None
    sha256: str
    stats: Totals


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened, in the order in which it did; None stands where nothing was measured.

    The fields are the keys of the JSON form (schema 1), to which keys may be added and from which none is taken.
    """

    SCHEMA: ClassVar[int] = 1

    input: ModelFile
    output: ModelFile
    passes: tuple[PassRecord, ...]
    fidelity: Fidelity | None = None
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    targets: tuple[Artifact, ...] = ()
    missed: tuple[str, ...] = ()
    seed: int = 0
    data: Sources = field(default_factory=Sources)

    def to_dict(self) -> dict[str, Any]:
        """The report in words that JSON has."""
        return headed(self.SCHEMA, plain(self))

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON with sorted keys, written to ``path`` too if there is one."""
        text = as_json(self.to_dict())
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    def render(self, console: Console, *, verbose: bool = False) -> None:
        """Print the report for a person, with every skipped place if ``verbose``."""
        from onnxprune.table import render

        render(self, console, verbose=verbose)

    def table(self, width: int = 100) -> str:
        """The report for a person, as text."""
        from rich.console import Console

        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as text:
            self.render(console)
        return text.get()


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the report."""
    return schema_in("onnxprune", "report.schema.json")
