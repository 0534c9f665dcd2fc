"""What distributions offer by entry point. Listing imports nothing; what cannot be imported names its distribution."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from onnxprune.errors import OnnxPruneError, UsageError

__all__ = ["found", "home", "load", "sources"]


def found(group: str, kind: str) -> dict[str, EntryPoint]:
    """All entry points of a group, by name; raises UsageError where two distributions use one name."""
    result: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda each: (each.name, home(each))):
        if entry.name in result:
            both = f"{home(result[entry.name])} and {home(entry)}"
            raise UsageError(f"two {kind} are named '{entry.name}', in {both}; uninstall one of them")
        result[entry.name] = entry
    return result


def load(entry: EntryPoint, kind: str, failure: type[OnnxPruneError]) -> Any:
    """What an entry point names; raises ``failure`` where its module cannot be imported."""
    try:
        module = import_module(entry.module)
        return entry.load() if entry.attr else module
    except OnnxPruneError:
        raise
    except Exception as error:  # whatever a plug-in does when it is imported
        raise failure(
            f"{kind} '{entry.name}' of {home(entry)} cannot be imported from {entry.value}:"
            f" {type(error).__name__}: {error}; reinstall or repair {home(entry)}"
        ) from error


def home(entry: EntryPoint) -> str:
    """The distribution that an entry point belongs to, as it stands in messages."""
    return f"'{entry.dist.name}'" if entry.dist else "an unknown distribution"


def sources(modules: Iterable[str]) -> list[Path]:
    """The files of every loaded module of the packages to which ``modules`` belong, sorted."""
    roots = {name.partition(".")[0] for name in modules}
    loaded = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in roots]
    files = {Path(file) for module in loaded if (file := getattr(module, "__file__", None))}
    return sorted(file for file in files if file.is_file())
