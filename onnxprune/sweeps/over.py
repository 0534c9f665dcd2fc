"""The text form of a sweep: ``macs=30..90%:step=10%``, or ``macs=30%,50%,70%``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from onnxprune.errors import UsageError, unknown
from onnxprune.recipe import Call
from onnxprune.units import span

__all__ = ["Over"]

_SPAN = re.compile(r"(?P<first>[^:]+?)\.\.(?P<last>[^:]+):step=(?P<step>.+)")
_GRAMMAR = "write a sweep as macs=30..90%:step=10% or macs=30%,50%,70%"


@dataclass(frozen=True)
class Over:
    """An option of a pass, and the values that it takes in turn.

    Where several passes have the option, ``where`` says which is meant: its name, or its place in the list from 1.
    """

    option: str
    values: tuple[str, ...]
    where: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The sweep that a text describes; what the values mean is for the pass to say."""
        name, _, values = text.replace(" ", "").partition("=")
        where, _, option = name.rpartition(".")
        listed = values.split(",")
        if ".." in values:
            if (found := _SPAN.fullmatch(values)) is None:
                raise UsageError(f"cannot read the sweep '{text}': {_GRAMMAR}")
            listed = span(*found.groups())
        if not option or not all(listed):
            raise UsageError(f"cannot read the sweep '{text}': {_GRAMMAR}")
        if twice := [value for place, value in enumerate(listed) if value in listed[:place]]:
            raise UsageError(f"the sweep '{text}' takes {twice[0]} twice; give it once")
        return cls(option, tuple(listed), where)

    def place(self, called: Sequence[Call]) -> int:
        """Which pass the option is set in: the one that has it, or, of several, the one in which it is given.

        Raises UsageError when there is none, or no telling.
        """
        named = [k for k, (cls, _) in enumerate(called) if self.where in ("", cls.name, str(k + 1))]
        if self.where and not named:
            raise UsageError(f"cannot sweep: {unknown('pass', self.where, {cls.name for cls, _ in called})}")
        known = {k: [f.name for f in fields(called[k][0]) if f.init] for k in named}  # type: ignore[arg-type]
        having = [k for k in named if self.option in known[k]]
        if not having:
            every = {option for options in known.values() for option in options}
            raise UsageError(f"cannot sweep: the passes have {unknown('option', self.option, every)}")
        chosen = [k for k in having if self.option in called[k][1]] or having
        if len(chosen) > 1:
            options = " or ".join(f"{k + 1}.{self.option}=…" for k in chosen)
            raise UsageError(
                f"cannot sweep: {len(chosen)} passes have the option '{self.option}'; say which: {options}"
            )
        return chosen[0]

    def fill(self, value: str, called: Sequence[Call]) -> list[Call]:
        """The passes with the option set to a value."""
        place = self.place(called)
        return [(cls, {**given, self.option: value} if k == place else given) for k, (cls, given) in enumerate(called)]
