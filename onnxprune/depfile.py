"""A depfile: the rule from which Make and Ninja learn what a model was made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import onnx

from onnxprune import plugins
from onnxprune.axes import rules
from onnxprune.backends.folder import templates
from onnxprune.backends.targets import target_files
from onnxprune.errors import ModelError, UsageError, first_line
from onnxprune.job import Job
from onnxprune.output import write_atomically
from onnxprune.subgraphs import data_files

__all__ = ["files_read", "rule", "write"]

UNWRITABLE = re.compile(r"[\n\t;|]|\\[#:]|[ :]$")  # Make or Ninja would read something else


def files_read(source: object, recipe: object, job: Job) -> list[Path]:
    """All that a job has read: code, what is there of targets, and data; folders with all that is in them.

    The code is every loaded module of onnxprune, and of the packages that passes, rules and the metric come from.
    """
    given = (recipe, job.calib, job.test, job.recipe.labels, *job.files)
    data = [*_model(source), *(path for each in given for path in _files(each))]
    extensions = [entry.module for entry in plugins.found(rules.GROUP, "families of rules").values()]
    used = [type(each).__module__ for each in job.recipe.passes]
    scored = [] if job.metric is None else [getattr(job.metric, "__module__", type(job.metric).__module__)]
    code = plugins.sources([__name__, *extensions, *used, *scored])
    return list(dict.fromkeys([*code, *([*target_files(), *templates()] if job.targets else []), *data]))


def rule(target: Path, files: Iterable[Path]) -> str:
    """The rule, and an empty one for each file, so that Make does not stop where one of them is gone.

    Make takes a name with % at the beginning of a line for a pattern, and one with = for a variable, after a colon too:
    the first of the files must not be such a one. CMake before 3.24 wants a space after every colon.
    """
    names = [_escaped(path) for path in files]
    empty = [f"{name}: \n" for name in names if not {*"=%"} & {*name}]
    return "".join([f"{_escaped(target)}:", *(f" \\\n  {name}" for name in names), "\n", *empty])


def write(path: Path, rule: str) -> None:
    """Write a rule into a file, whose folder is made where it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error
    write_atomically(path, rule.encode())


def _escaped(path: Path) -> str:
    """A name as GCC writes it: backslashes before a space are doubled, and only those."""
    if UNWRITABLE.search(str(path)):
        raise UsageError(f"{str(path)!r} has characters that no depfile can hold; rename it, or leave out --depfile")
    spaced = re.sub(r"(\\*) ", r"\1\1\\ ", str(path))
    return re.sub(r"([#:])", r"\\\1", spaced).replace("$", "$$")


def _model(source: object) -> list[Path]:
    """The file, and those of its external data."""
    if not isinstance(source, str | Path):
        return []
    try:
        proto = onnx.load(source, load_external_data=False)
    except Exception as error:  # it was read before; protobuf's DecodeError differs between its implementations
        raise ModelError(f"'{source}' has changed while it was worked on: {first_line(error)}; run again") from error
    return [Path(source), *sorted(Path(source).parent / file for file in data_files(proto))]


def _files(source: object) -> list[Path]:
    path = Path(source) if isinstance(source, str | Path) else None
    if path is None or not path.exists():
        return []
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
