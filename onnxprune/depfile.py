"""A depfile: the rule from which Make and Ninja learn what a model was made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from onnxprune import plugins
from onnxprune.axes import rules
from onnxprune.backends.targets import target_files
from onnxprune.errors import UsageError
from onnxprune.job import Job
from onnxprune.proto import write_atomically
from onnxprune.subgraphs import inner_tensors
from onnxprune.weights import is_external

__all__ = ["files_read", "rule", "write"]


def files_read(source: object, recipe: object, job: Job) -> list[Path]:
    """All that a job has read: its data, the code that did it, and the tables of targets. Folders stand for themselves.

    The code is every loaded module of onnxprune, and of the packages that passes, rules and the metric come from.
    """
    data = [*_model(source), *(path for each in (recipe, job.calib, job.test) for path in _files(each))]
    extensions = [entry.module for entry in plugins.found(rules.GROUP, "families of rules").values()]
    used = [type(each).__module__ for each in job.recipe.passes]
    scored = [] if job.metric is None else [getattr(job.metric, "__module__", type(job.metric).__module__)]
    code = plugins.sources([__name__, *extensions, *used, *scored])
    return list(dict.fromkeys([*data, *code, *(target_files() if job.targets else [])]))


def rule(target: Path, files: Iterable[Path]) -> str:
    """The rule, and an empty one for each file, so that Make does not stop where one of them is gone."""
    names = [_escaped(path) for path in files]
    return "".join([f"{_escaped(target)}:", *(f" \\\n  {name}" for name in names), "\n", *(f"{n}:\n" for n in names)])


def write(path: Path, rule: str) -> None:
    """Write a rule into a file, whose folder is made where it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error
    write_atomically(path, rule.encode())


def _escaped(path: Path) -> str:
    """A name as GCC writes it: backslashes before a space are doubled, and only those."""
    if "\n" in str(path):
        raise UsageError(f"{str(path)!r} has a line break, which no depfile can hold; rename it")
    spaced = re.sub(r"(\\*)([ \t])", r"\1\1\\\2", str(path))
    return re.sub(r"([#:])", r"\\\1", spaced).replace("$", "$$")


def _model(source: object) -> Iterator[Path]:
    if not isinstance(source, str | Path):
        return
    yield Path(source)
    graph = onnx.load(source, load_external_data=False).graph
    outer = filter(is_external, (*graph.initializer, *inner_tensors(graph)))
    yield from dict.fromkeys(
        Path(source).parent / e.value for t in outer for e in t.external_data if e.key == "location"
    )


def _files(source: object) -> list[Path]:
    path = Path(source) if isinstance(source, str | Path) else None
    if path is None or not path.exists():
        return []
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
