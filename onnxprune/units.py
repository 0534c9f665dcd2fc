"""How much: a share of something, the amount of a cost that may be left, the size of an image."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from onnxprune.errors import UsageError

__all__ = ["Amount", "Share", "Size", "span"]

_NUMBER = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(%|K|M|G|ms|)")
_COUNTS = {"G": Decimal(10**9), "M": Decimal(10**6), "K": Decimal(10**3)}
_MOST = 100  # amounts in a span
_FACTORS = {"": Decimal(1), "ms": Decimal(1), "%": Decimal("0.01"), **_COUNTS}


class Share(float):
    """A part of a whole, above 0 and up to 1; ``Share("50%") == 0.5``."""

    allowed: ClassVar[str] = "a share above 0% and up to 100%, as 50% or 0.5"

    def __new__(cls, value: float | str) -> Self:
        number, suffix = _split(str(value), cls.allowed)
        share = float(number * _FACTORS[suffix])
        if suffix not in ("", "%") or not 0 < share <= 1:
            raise UsageError(f"'{value}' is not {cls.allowed}")
        return super().__new__(cls, share)

    def __str__(self) -> str:
        return _percent(self)


@dataclass(frozen=True)
class Amount:
    """A budget: the part of a cost that may be left, relative to the original or absolute.

    ``unit`` is ``"ms"`` for a time and empty otherwise.
    """

    value: float
    relative: bool
    unit: str = ""

    allowed: ClassVar[str] = (
        "an amount: above 0% and up to 100% of the original (50%, 0.5),"
        " a count above 1 (300000, 1.2M; also K and G) or a time (8ms)"
    )

    def __post_init__(self) -> None:
        """Refuse what no budget can be."""
        if not 0 < self.value < math.inf or (self.relative and self.value > 1):
            raise UsageError(f"'{self}' is not {self.allowed}")

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """The amount that ``50%``, ``0.5``, ``300000``, ``1.2M`` or ``8ms`` stands for."""
        number, suffix = _split(str(text), cls.allowed)
        relative = suffix == "%" or (suffix == "" and number <= 1)
        if suffix == "" and not relative and number != number.to_integral_value():  # 1.5 may be a share gone wrong
            raise UsageError(f"'{text}' is not {cls.allowed}")
        return cls(float(number * _FACTORS[suffix]), relative, "ms" if suffix == "ms" else "")

    def of(self, total: float) -> float:
        """The absolute amount that is allowed where the original has ``total``."""
        return self.value * total if self.relative else self.value

    def __str__(self) -> str:
        """The shortest text that ``parse`` reads as an equal amount."""
        if self.relative:
            return _percent(self.value)
        exact = Decimal(str(self.value))
        if self.unit:
            return _plain(exact) + self.unit
        if 1 < exact < _COUNTS["K"] and exact == exact.to_integral_value():
            return _plain(exact)
        suffix = next((suffix for suffix, scale in _COUNTS.items() if exact >= scale), "K")
        return _plain(exact / _COUNTS[suffix]) + suffix


@dataclass(frozen=True)
class Size:
    """The size of an image; ``Size.parse("240x320")`` is 240 high and 320 wide."""

    height: int
    width: int

    allowed: ClassVar[str] = "a size as 224 or 240x320 (height x width)"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The size that ``224`` or ``240x320`` stands for."""
        height, cross, width = text.lower().partition("x")
        sides = [int(side) for side in ((height, width) if cross else (height, height)) if side.strip().isdecimal()]
        if len(sides) != 2 or not all(sides):
            raise UsageError(f"'{text}' is not {cls.allowed}")
        return cls(*sides)

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


def span(first: str, last: str, step: str) -> list[str]:
    """Every amount from ``first`` up to ``last``; a number without a suffix has that of ``last``.

    >>> span("30", "60%", "10%")
    ['30%', '40%', '50%', '60%']
    """
    allowed = f"a span; write it as 30..90%:step=10%, upwards and with at most {_MOST} steps"
    written = f"{first}..{last}:step={step}"
    numbers = [_split(text, allowed) for text in (first, last, step)]
    unit = numbers[1][1]
    suffixes = [suffix or unit for _, suffix in numbers]
    if len({suffix if suffix in ("%", "ms") else "" for suffix in suffixes}) > 1:
        raise UsageError(f"'{written}' mixes shares, counts and times; give all three numbers in the same")
    start, end, by = (number * _FACTORS[suffix] for (number, _), suffix in zip(numbers, suffixes, strict=True))
    if by <= 0 or start > end or (end - start) / by >= _MOST:
        raise UsageError(f"'{written}' is not {allowed}")
    return [_plain((start + k * by) / _FACTORS[unit]) + unit for k in range(int((end - start) / by) + 1)]


def _split(text: str, allowed: str) -> tuple[Decimal, str]:
    if (match := _NUMBER.fullmatch(text.strip())) is None:
        raise UsageError(f"'{text}' is not {allowed}")
    return Decimal(match[1]), match[2]


def _percent(share: float) -> str:
    return _plain(Decimal(float.__repr__(share)) * 100) + "%"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
