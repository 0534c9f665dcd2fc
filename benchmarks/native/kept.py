"""Rows kept one by one as JSON lines, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Kept"]

Row = dict[str, Any]
Key = tuple[Any, ...]
NAMES = ("network", "form", "threads")


@dataclass(frozen=True, eq=False)
class Kept:
    """The rows of one setting in a file; without a file, nothing is kept."""

    path: Path | None
    setting: Mapping[str, Any]
    names: Sequence[str] = NAMES
    rows: dict[Key, Row] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path | None, setting: Mapping[str, Any], names: Sequence[str] = NAMES) -> Kept:
        """What a file holds of a setting, the rows told apart by the figures that are named.

        A line cut short, as by a power cut, is none.
        """
        kept = cls(path, setting, names)
        if path is not None and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            told = (json.loads(line) for line in lines if line.endswith("\n"))
            kept.rows.update((kept.key(each["row"]), each["row"]) for each in told if each["setting"] == setting)
        return kept

    def key(self, row: Row) -> Key:
        """What a row goes by."""
        return tuple(row.get(name) for name in self.names)

    def add(self, row: Row) -> None:
        """Keep a row."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"setting": self.setting, "row": row}) + "\n")

    def all(self, name: str, forms: Sequence[str], threads: Sequence[int]) -> Sequence[Row] | None:
        """The rows of a network, where none is missing."""
        wanted = [(name, form, number) for form in forms for number in threads]
        return [self.rows[key] for key in wanted] if self.rows.keys() >= set(wanted) else None
