"""The equation of an Einsum, read into one index per dimension."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.node import Node

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """The index of every dimension of every input and of the output; dimensions behind an ellipsis are "0", "1" …

    Those are numbered from the right, as they are broadcast.
    """

    inputs: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]

    @classmethod
    def of(cls, node: Node) -> Terms | None:
        """The terms of an Einsum whose inputs have known ranks; None where the equation does not fit them."""
        left, arrow, right = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
        ranks = [t.rank for t in node.inputs if t is not None]
        operands = left.split(",")
        if len(operands) != len(node.inputs) or len(ranks) != len(operands) or None in ranks:
            return None
        inputs = tuple(_indices(text, rank or 0) for text, rank in zip(operands, ranks, strict=True))
        hidden = max((sum(i.isdigit() for i in indices) for indices in inputs), default=0)
        if not arrow:  # what occurs once, in the order of the alphabet, behind the ellipsis
            once = sorted(c for c in set(left) - set(".,") if left.count(c) == 1)
            right = "..." * (hidden > 0) + "".join(once)
        output = _indices(right, len(right.replace("...", "")) + hidden * ("..." in right))
        fits = all(len(indices) == rank for indices, rank in zip(inputs, ranks, strict=True))
        return cls(inputs, output) if fits else None


def _indices(text: str, rank: int) -> tuple[str, ...]:
    before, dots, after = text.partition("...")
    hidden = max(rank - len(before) - len(after), 0) if dots else 0
    return (*before, *(str(k) for k in reversed(range(hidden))), *after)
