"""A source in, samples out: whatever may be given as calibration or test data. A new kind of source goes here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxprune.data.arrays import LABELS, from_mapping, from_npy, from_npz, plain
from onnxprune.data.columns import Column
from onnxprune.data.folders import from_folder
from onnxprune.data.labels import NO_LABELS
from onnxprune.data.made_up import RANDOM, random_pieces
from onnxprune.data.pieces import Samples, gather, pieces_of
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError, first_line
from onnxprune.node import Tensor

__all__ = ["Source", "read"]

Feeds: TypeAlias = Iterable[Any]
Source: TypeAlias = str | Path | Mapping[str, npt.ArrayLike] | npt.NDArray[Any] | Feeds | Callable[[], Feeds]

FORMS = "give an .npz, an .npy, a folder of images, .npy or .npz files, or 'random'"


def read(
    source: Source,
    inputs: Sequence[Tensor],
    *,
    preprocess: Preprocess | None = None,
    labels: str | Path | None = None,
    seed: int = 0,
) -> Samples:
    """The samples of a source, a column for each of the graph's ``inputs``, and perhaps labels.

    Raises UsageError when it cannot be read or holds other names; values are not looked at.
    """
    where = f"'{source}'" if isinstance(source, str | Path) else "the data"
    if not inputs:
        raise UsageError(f"{where}: the graph has no inputs, so samples are of no use to it")
    if strange := [t.name for t in inputs if t.shape is None and t.dtype is None]:
        why = "is no tensor (an optional or a sequence) and takes no samples"
        raise UsageError(f"{where}: the graph input '{strange[0]}' {why}; leave out the data")
    if isinstance(source, str) and source == RANDOM:
        return replace(gather(where, random_pieces(inputs, seed), inputs), kind=RANDOM)
    if isinstance(source, str | Path) and Path(source).is_dir():
        return from_folder(Path(source), inputs, preprocess, labels)
    if labels not in (None, NO_LABELS):
        raise UsageError(f"{where}: --labels is for folders; add an array '{LABELS}' to an .npz")
    return _from_file(where, source, inputs) if isinstance(source, str | Path) else _from_python(where, source, inputs)


def _from_file(where: str, source: str | Path, inputs: Sequence[Tensor]) -> Samples:
    path, names = Path(source), [t.name for t in inputs]
    if not path.is_file():
        raise UsageError(f"{where}: no such file; {FORMS}")
    if path.suffix.lower() != ".npy":
        return _apart(where, from_npz(path, names), names)
    if len(names) != 1:
        held = ", ".join(f"'{name}'" for name in names)
        raise UsageError(f"{where}: an .npy holds one array, the graph reads {held}; give an .npz with all of them")
    return Samples(where, {names[0]: from_npy(path)})


def _from_python(where: str, source: Any, inputs: Sequence[Tensor]) -> Samples:
    names = [t.name for t in inputs]
    if isinstance(source, Mapping):
        return _apart(where, from_mapping(where, source, names), names)
    if hasattr(source, "__array__") and len(names) == 1:
        return Samples(where, {names[0]: plain(where, names[0], source)})
    if callable(source) and not isinstance(source, Iterable):
        try:
            source = source()
        except Exception as error:  # it is the user's and may raise anything
            raise UsageError(f"{where}: the function failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(source, Iterable) or hasattr(source, "__array__"):
        raise UsageError(f"cannot read samples from a {type(source).__name__}; {FORMS}, a mapping of arrays, or feeds")
    return gather(where, pieces_of(source, inputs), inputs)


def _apart(where: str, arrays: Mapping[str, Column], inputs: Sequence[str]) -> Samples:
    """Columns and labels, which are few and stay in memory."""
    columns, labels = dict(arrays), None
    if LABELS not in inputs and (held := columns.pop(LABELS, None)) is not None:
        labels = held if isinstance(held, np.ndarray) else plain(where, LABELS, held[np.arange(held.shape[0])])
    return Samples(where, columns, labels)
