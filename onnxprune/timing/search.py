"""A network within a time: what tables foretell is measured, and aimed at anew until both agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Shot", "within"]

T = TypeVar("T")

TRIES = 7
NEAR = 0.98  # of the time that is allowed is near enough, and what is aimed at
NOISE = 1.01  # of it cannot be told from it


@dataclass(frozen=True)
class Shot(Generic[T]):
    """A draft, the share of the allowed time that it was planned for, and the share that it was measured to take."""

    draft: T
    aim: float
    measured: float


def within(plan: Callable[[float], T], measure: Callable[[T], float]) -> Shot[T]:
    """The draft that takes the most of the allowed time without exceeding it; the fastest where all exceed it.

    ``plan`` drafts for a share of the allowed time, in which ``measure`` tells what a draft takes. An equal draft is
    not measured again. The aim is corrected by what was found, then halfway between too fast and too slow.
    """
    shots: list[Shot[T]] = []
    aim = NEAR
    for _ in range(TRIES):
        draft = plan(aim)
        known = next((shot.measured for shot in shots if shot.draft == draft), None)
        shots.append(Shot(draft, aim, measure(draft) if known is None else known))
        if NEAR - (1 - NEAR) <= shots[-1].measured <= NOISE:
            break
        if (further := _aim(shots)) is None:
            break
        aim = further
    return _best(shots)


def _aim(shots: list[Shot[T]]) -> float | None:
    """What to aim at next; None where that would change nothing."""
    fast = max((s.aim for s in shots if s.measured <= NOISE), default=None)
    slow = min((s.aim for s in shots if s.measured > NOISE), default=None)
    if fast is not None and slow is not None:
        return (fast + slow) / 2 if slow - fast > (1 - NEAR) * fast / 4 else None
    last = shots[-1]
    if len(shots) > 2 and all(shot.draft == last.draft for shot in shots[-3:]):
        return None
    return last.aim * NEAR / last.measured if last.measured > 0 else None


def _best(shots: list[Shot[T]]) -> Shot[T]:
    kept = [shot for shot in shots if shot.measured <= NOISE]
    return max(kept, key=lambda s: s.measured) if kept else min(shots, key=lambda s: s.measured)
