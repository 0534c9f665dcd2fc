"""The folder that goes to the machine a model was built for: the runtime, and programs to run, check and time it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import numpy as np

from onnxprune.backends.difference import TOLERANCE
from onnxprune.backends.libraries import HEADERS, NAMES, Libraries, headers
from onnxprune.backends.targets import Target
from onnxprune.node import Array

__all__ = ["Sample", "furnish", "names", "templates"]

README, CHECK, INPUTS, OUTPUTS = "README.md", "check.cc", "inputs.npy", "outputs.npy"


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs and expected outputs of one run, by name, in the order of the graph, and how far off these may be.

    ``tolerance`` is a share of the largest number in an output.
    """

    inputs: Sequence[tuple[str, Array]] = ()
    outputs: Sequence[tuple[str, Array]] = ()
    tolerance: float = TOLERANCE


def templates() -> list[Path]:
    """The files that the folders are made of, as far as they are files."""
    return [each for _, each in _templates() if isinstance(each, Path)]


def names() -> list[str]:
    """All that may be written beside ``model.so``, as relative paths."""
    return [*(name for name, _ in _templates()), *(f"include/{each}" for each in HEADERS), *NAMES, INPUTS, OUTPUTS]


def furnish(folder: Path, target: Target, sample: Sample, runtime: Libraries) -> int:
    """Put beside ``model.so`` all that a run of it needs; the size of the folder in bytes."""
    for name, each in _templates():
        _write(folder / name, each.read_bytes())
    for name, data in headers().items():
        _write(folder / "include" / name, data)
    for name, data in runtime.files.items():
        _write(folder / name, data)
    _save(folder / INPUTS, sample.inputs)
    _save(folder / OUTPUTS, sample.outputs)
    for name in (README, CHECK):
        text = Template((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(text.substitute(_words(target, sample, runtime)), encoding="utf-8")
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _templates(place: Traversable | None = None, above: str = "") -> Iterator[tuple[str, Traversable]]:
    whole = files(__package__) / "deployed" if place is None else place
    for each in sorted(whole.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _templates(each, f"{above}{each.name}/")
        else:
            yield f"{above}{each.name}", each


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _save(path: Path, arrays: Iterable[tuple[str, Array]]) -> None:
    with path.open("wb") as stream:
        for _, each in arrays:
            np.save(stream, np.asarray(each, order="C"))


def _words(target: Target, sample: Sample, runtime: Libraries) -> dict[str, str]:
    return {
        "target": target.name,
        "triple": target.triple,
        "inputs": _signature(sample.inputs),
        "outputs": _signature(sample.outputs),
        "tolerance": repr(sample.tolerance),
        "runtime": "MISSING: " + runtime.missing if runtime.missing else "they lie here",
    }


def _signature(arrays: Iterable[tuple[str, Array]]) -> str:
    return ", ".join(f"`{name}` {each.dtype}{list(each.shape)}" for name, each in arrays) or "what the network says"
