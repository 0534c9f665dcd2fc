"""What the inner loops of compiled kernels are made of, read from their assembly: multiplications, and all else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx

__all__ = ["Loop", "inner_loops"]

LABEL = re.compile(r"([\w.$]+):")
JUMP = re.compile(r"(b|b\.\w+|cbn?z|tbn?z|j\w+)\s+(?:.*,\s*)?([\w.$]+)$")
END = re.compile(r"(b|jmp|jmpq|ret|retq|br)\b(?!\.)")
FULL = {  # a multiply-add, or without such an instruction a multiplication, that fills the target's registers
    128: re.compile(r"fmla\s+v\d+\.4s|v?mulps\s.*%xmm|vfmadd\d+ps\s.*%xmm"),
    256: re.compile(r"vfmadd\d+ps\s.*%ymm"),
    512: re.compile(r"vfmadd\d+ps\s.*%zmm"),
}
ANY = re.compile(r"fn?m(la|ls|add|sub|ul)\s|v?mul[ps]s\s|vfn?m(add|sub)\d+[ps]s\s")
VECTOR = re.compile(r"\b[qv]\d+\b|%[xyz]mm")
STORE = re.compile(r"^st|,\s*[-\w]*\(%[re]sp[^,]*\)$")
STACK = re.compile(r"\[sp\b|\(%[re]sp")


@dataclass(frozen=True)
class Loop:
    """The instructions of an innermost loop of code for vectors of ``bits``, in the order of the listing."""

    instructions: tuple[str, ...]
    bits: int

    @property
    def products(self) -> int:
        """Multiplications (and additions, where one instruction does both) of whole vectors."""
        return sum(bool(FULL[self.bits].match(each)) for each in self.instructions)

    @property
    def fused(self) -> bool:
        """Whether one instruction multiplies and adds."""
        return not any("mulps" in each for each in self.instructions)

    @property
    def narrow(self) -> list[str]:
        """Multiplications that leave lanes of a register unused."""
        return [each for each in self.instructions if ANY.match(each) and not FULL[self.bits].match(each)]

    @property
    def spills(self) -> list[str]:
        """Loads from the stack, and stores to it."""
        return [each for each in self.instructions if STACK.search(each)]

    @property
    def stores(self) -> list[str]:
        """Those that store; what is only loaded there is a constant of the loop, and could lie elsewhere."""
        return [each for each in self.spills if STORE.search(each)]

    @property
    def share(self) -> float:
        """Of the instructions on vector registers, those that multiply."""
        return self.products / max(1, sum(bool(VECTOR.search(each)) for each in self.instructions))

    @property
    def per_mac(self) -> float:
        """Instructions for each multiply-accumulate."""
        return len(self.instructions) / (self.products * self.bits / 32)


def inner_loops(assembly: str, bits: int, products: int = 4) -> dict[str, list[Loop]]:
    """By function, the innermost loops that multiply at least ``products`` times a turn."""
    blocks, graph = _blocks(assembly)
    found = {}
    for function in filter(str.isidentifier, graph):
        loops = [Loop(body, bits) for body in _innermost(blocks, graph, function)]
        if busy := [loop for loop in loops if loop.products + len(loop.narrow) >= products]:
            found[function] = busy
    return found


def _innermost(blocks: dict[str, list[str]], graph: nx.DiGraph[str], function: str) -> Iterator[tuple[str, ...]]:
    loops = _loops(graph, function)
    for header, body in loops.items():
        if not any(other in body for other in loops if other != header):
            yield tuple(each for name in blocks if name in body for each in blocks[name])


def _loops(graph: nx.DiGraph[str], start: str) -> dict[str, set[str]]:
    """Natural loops by their header: what reaches a jump back to it without passing it."""
    parents = {**nx.immediate_dominators(graph, start), start: None}
    found: dict[str, set[str]] = {}
    for source in parents:
        for header in graph.successors(source):
            if header in _above(parents, source):
                inside = graph.subgraph(set(parents) - {header})
                before = nx.ancestors(inside, source) if source != header else set()
                found.setdefault(header, set()).update({header, source}, before)
    return found


def _above(parents: dict[str, str | None], name: str | None) -> Iterator[str]:
    """A block and those that every way to it passes."""
    while name is not None:
        yield name
        name = parents[name]


def _blocks(assembly: str) -> tuple[dict[str, list[str]], nx.DiGraph[str]]:
    """Instructions between labels and jumps, and where each run of them may go on."""
    blocks: dict[str, list[str]] = {}
    graph: nx.DiGraph[str] = nx.DiGraph()
    name, goes_on = "", False

    def enter(following: str) -> str:
        blocks[following] = []
        graph.add_node(following)
        if goes_on:
            graph.add_edge(name, following)
        return following

    for line in _lines(assembly):
        if label := LABEL.fullmatch(line):
            name, goes_on = enter(label[1]), True
        elif name and not line.startswith("."):
            blocks[name].append(line)
            goes_on = not END.match(line)
            if jump := JUMP.match(line):
                graph.add_edge(name, jump[2])
                name = enter(f"{name}'")
    return blocks, graph


def _lines(assembly: str) -> Iterator[str]:
    for line in assembly.splitlines():
        text = re.split(r"\s//|\s#(?=\s|$)|\s##|\t#", line)[0].strip()
        if text:
            yield text
