"""Every exception onnxprune raises on purpose, and the exit code each one means.

    OnnxPruneError
    ├── UsageError             2  a wrong option, recipe, budget or calibration file
    │   └── PlaceError         2  a place that cannot be written; 5 where compiled code was to go there
    ├── ModelError             3  a model that cannot be read, is invalid or not supported
    ├── PassError              4  a pass failed
    │   └── PassContractError  4  a pass said "unchanged" or "preserved" and it was not so
    └── BackendError           5  a backend is missing or failed

A message says what is wrong, where, why, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "BackendError",
    "ModelError",
    "OnnxPruneError",
    "PassContractError",
    "PassError",
    "PlaceError",
    "UsageError",
    "first_line",
    "unknown",
]


MOST = 12  # names in a message


class OnnxPruneError(Exception):
    """The root: catch it to catch everything onnxprune raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(OnnxPruneError):
    """An option, recipe, budget or data file that does not make sense."""

    exit_code = 2


class PlaceError(UsageError):
    """A file or folder that cannot be written."""


class ModelError(OnnxPruneError):
    """A model that cannot be read, is invalid, or uses what is not supported."""

    exit_code = 3


class PassError(OnnxPruneError):
    """A pass could not do its work."""

    exit_code = 4


class PassContractError(PassError):
    """A pass broke its contract: the fault is the pass author's, not the user's."""


class BackendError(OnnxPruneError):
    """A backend is missing, or failed to build, run or verify."""

    exit_code = 5


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among ``known``, with the nearest one proposed.

    >>> unknown("pass", "prun", ["fold", "prune"])
    "no pass 'prun'; did you mean 'prune'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    way_out = f"did you mean '{near[0]}'?" if near else f"known: {shown or 'none'}"
    return f"no {kind} '{name}'; {way_out}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message: onnxruntime's may run over pages."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:400]
