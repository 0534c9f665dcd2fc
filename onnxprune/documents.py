"""What is written for programs: frozen values as JSON with a head and sorted keys, and the schemas of such JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["as_json", "headed", "plain", "schema_in"]


def plain(value: object) -> Any:
    """Dataclasses, mappings, sequences and paths in words that JSON has."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def headed(schema: int, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a document, which schema it follows, and what wrote it."""
    return {"schema": schema, "tool": {"name": "onnxprune", "version": version("onnxprune")}, **parts}


def as_json(document: Mapping[str, Any]) -> str:
    """The document with sorted keys, a line at its end."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def schema_in(package: str, name: str) -> dict[str, Any]:
    """A JSON Schema (2020-12) that lies in a package."""
    result: dict[str, Any] = json.loads(files(package).joinpath(name).read_text(encoding="utf-8"))
    return result
