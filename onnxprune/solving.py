"""Solving with the normal matrices of least squares: symmetric, one or many at once, and not always definite."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from onnxprune.node import Array

__all__ = ["solved", "solver"]

BLOCK = 128  # rows of a triangle that are solved at once


def solved(normal: Array, right: Array, ridge: Array) -> Array:
    """(H + λ·I)⁻¹·R for matrices H [matrices, size, size], R [matrices, size, columns] and λ [matrices], float64.

    Each λ is ten times larger until its matrix is positive definite; 0 where it never is.
    """
    return solver(normal, ridge)(right)


def solver(normal: Array, ridge: Array) -> Callable[[Array], Array]:
    """The same for any number of R, one after the other."""
    roots, todo = list[tuple[Array, Array]](), np.arange(len(normal))
    for scale in 10.0 ** np.arange(12):
        found = list(_roots(normal, scale * ridge, todo))
        roots += found
        todo = np.setdiff1d(todo, np.concatenate([chosen for chosen, _ in found] or [todo[:0]]))
        if not len(todo):
            break

    def solve(right: Array) -> Array:
        result = np.zeros_like(right)
        for chosen, root in roots:
            result[chosen] = _backward(root, _forward(root, right[chosen]))
        return result

    return solve


def _roots(normal: Array, ridge: Array, todo: Array) -> Iterator[tuple[Array, Array]]:
    """The Cholesky factors of the damped matrices that have one: of all at once, or one by one where some have none."""
    try:
        yield todo, np.linalg.cholesky(_damped(normal, ridge, todo))
    except np.linalg.LinAlgError:
        halves = np.array_split(todo, 2) if len(todo) > 1 else []
        for half in halves:
            yield from _roots(normal, ridge, half)


def _damped(normal: Array, ridge: Array, todo: Array) -> Array:
    damped, diagonal = normal[todo], np.arange(normal.shape[1])
    damped[:, diagonal, diagonal] += ridge[todo, None]
    return damped


def _forward(root: Array, right: Array) -> Array:
    """L⁻¹·R, block by block: NumPy has no solver for triangles, and one for any matrix takes many times as long."""
    x = right.copy()
    for start in range(0, x.shape[1], BLOCK):
        own = slice(start, start + BLOCK)
        x[:, own] = np.linalg.solve(root[:, own, own], x[:, own] - root[:, own, :start] @ x[:, :start])
    return x


def _backward(root: Array, right: Array) -> Array:
    """L⁻ᵀ·R."""
    x = right.copy()
    for start in reversed(range(0, x.shape[1], BLOCK)):
        own, end = slice(start, start + BLOCK), start + BLOCK
        rest = root[:, end:, own].swapaxes(1, 2) @ x[:, end:]
        x[:, own] = np.linalg.solve(root[:, own, own].swapaxes(1, 2), x[:, own] - rest)
    return x
