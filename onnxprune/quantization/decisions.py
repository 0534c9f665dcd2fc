"""What was decided for a quantized network, as a document to read, to edit and to give back: ``quantize.json``.

Of each grid it says what range it covers and by which rule, of each node where it is computed and why, what the network
loses by it alone, what it costs, and the option that would decide otherwise. What is obeyed when it is given back are
``profile``, ``weights``, ``round``, ``repairs``, the ``range`` of a grid (or its ``rule``, where the range was taken
out) and where a node is computed (``on``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.documents import headed
from onnxprune.errors import UsageError, unknown
from onnxprune.grammar import quoted
from onnxprune.model import Model
from onnxprune.node import Node
from onnxprune.quantization.network import Quantized, Scheme
from onnxprune.quantization.operators import OPERATORS
from onnxprune.quantization.placement import obstacle
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.ranges import RULES, Range
from onnxprune.quantization.repairing import REPAIRS, Repairs
from onnxprune.quantization.rounding import RULES as ROUNDS

__all__ = ["Decisions", "document", "read"]

SCHEMA = 1
INTEGERS, FLOAT = "integers", "float"


@dataclass(frozen=True)
class Decisions:
    """What is decided: of tensors, the rules for their ranges, and ranges; the nodes ``left`` in float, and why.

    ``losses`` are what the network loses by nodes alone, as far as that was measured.
    """

    rules: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    profile: str | None = None
    weights: str | None = None
    round: str | None = None
    repairs: Repairs | None = None


def document(
    model: Model, result: Quantized, scheme: Scheme, decided: Decisions, costs: Mapping[str, float]
) -> dict[str, Any]:
    """What was decided for a float model, and came of it; ``scheme`` has the rule where nothing else was decided."""
    reasons, chosen = {**decided.left, **result.placement.floats}, set(result.placement.nodes)
    nodes = [n for n in model.nodes if n.name in reasons or (n.name in chosen and OPERATORS[n.op].kind != "move")]
    grids = {
        name: {
            "tensors": list(tensors),
            "rule": decided.rules.get(name, scheme.rule),
            "range": list(result.ranges[name]),
            "scale": float(result.grids[name].scale),
            "zero_point": int(result.grids[name].zero),
        }
        for name, tensors in result.placement.grids.items()
    }
    losses = {name: decided.losses.get(name) for name in reasons.keys() | chosen}
    parts = {
        "profile": next(name for name, profile in PROFILES.items() if profile == scheme.profile),
        "weights": "channel" if scheme.per_channel else "tensor",
        "round": result.rule,
        "repairs": asdict(decided.repairs or Repairs()),
        "grids": grids,
        "nodes": {n.name: _decided(model, n, reasons.get(n.name), losses[n.name], costs[n.name]) for n in nodes},
    }
    return headed(SCHEMA, parts)


def _decided(model: Model, node: Node, why: str | None, loss: float | None, cost: float) -> dict[str, Any]:
    able = why is None or _obstacle(model, node) is None
    option = f"{'keep' if why is None else INCLUDE}={quoted(re.escape(node.name))}" if able else None
    on = INTEGERS if why is None else FLOAT
    return {"op": node.op, "on": on, "why": why, "loss": loss, "cost": cost, "option": option}


def _obstacle(model: Model, node: Node) -> str | None:
    fact = None if node.domain else OPERATORS.get(node.op)
    if fact is None:
        return f"there is no integer kernel for {node.kind}"
    return obstacle(model, node) if fact.kind == "layer" else None


INCLUDE = "int8"  # the option of the pass


def read(path: Path, model: Model) -> Decisions:
    """What a file decides for a float model; raises UsageError for what is no such document or not of this model."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return _checked(given, model)
    except OSError as error:
        raise UsageError(f"cannot read the decisions '{path}': {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _checked(given: object, model: Model) -> Decisions:
    whole = _table(given, "the file")
    rules, ranges = _of_grids(_table(whole.get("grids", {}), "'grids'"), model)
    nodes = _table(whole.get("nodes", {}), "'nodes'")
    _known("node", list(nodes), (node.name for node in model.nodes), "'nodes'")
    told = {name: _table(each, f"node '{name}'") for name, each in nodes.items()}
    for name, each in told.items():
        on = _one_of("place", each.get("on"), (INTEGERS, FLOAT), f"node '{name}'")
        if on == INTEGERS and (why := _obstacle(model, model.node(name))) is not None:
            raise UsageError(f"node '{name}' cannot be on integers: {why}; write {FLOAT}")
    left = {name: str(each.get("why") or "the decisions say so") for name, each in told.items() if each["on"] == FLOAT}
    losses = {name: float(each["loss"]) for name, each in told.items() if isinstance(each.get("loss"), float | int)}
    profile = _one_of("profile", whole.get("profile"), PROFILES, "'profile'")
    weights = _one_of("weights", whole.get("weights"), ("channel", "tensor"), "'weights'")
    round = _one_of("round", whole.get("round"), ("nearest", *ROUNDS), "'round'")
    repairs = _repairs(_table(whole["repairs"], "'repairs'")) if "repairs" in whole else None
    return Decisions(rules, ranges, left, losses, profile, weights, round, repairs)


def _repairs(told: Mapping[str, Any]) -> Repairs:
    _known("repair", list(told), REPAIRS, "'repairs'")
    margin, others = told.get("equalise"), {name: told.get(name, False) for name in ("absorb", "bias")}
    if not (margin is None or (type(margin) in (int, float) and 0 <= margin <= 1)):
        raise UsageError(f"'repairs': equalise is {margin!r}; give a margin of 0 … 1, or null for none")
    for name, each in others.items():
        if type(each) is not bool:
            raise UsageError(f"'repairs': {name} is {each!r}; give true or false")
    return Repairs(margin, **others)


def _of_grids(grids: Mapping[str, Any], model: Model) -> tuple[dict[str, str], dict[str, Range]]:
    """By tensor, rules and ranges."""
    rules, ranges = dict[str, str](), dict[str, Range]()
    known = {t.name for node in model.nodes for t in node.tensors()}
    for name, told in grids.items():
        grid = _table(told, f"grid '{name}'")
        tensors = _known("tensor", grid.get("tensors", [name]), known, f"grid '{name}'")
        if "rule" in grid:
            rules |= dict.fromkeys(tensors, _one_of("rule", grid["rule"], RULES, f"grid '{name}'"))
        if "range" in grid:
            ranges |= dict.fromkeys(tensors, _range(grid["range"], name))
    return rules, ranges


def _table(given: object, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{what} is no object; begin with a quantize.json that the pass wrote")
    return given


def _known(kind: str, names: object, known: Iterable[str], where: str) -> list[str]:
    found, names = set(known), names if isinstance(names, list) else [names]
    if strange := [name for name in names if name not in found]:
        raise UsageError(f"{where}: {unknown(kind, str(strange[0]), found)}")
    return [str(name) for name in names]


def _one_of(kind: str, given: object, known: Iterable[str], where: str) -> str:
    if given not in (known := list(known)):
        raise UsageError(f"{where}: {unknown(kind, str(given), known)}")
    return str(given)


def _range(given: object, name: str) -> Range:
    ends = given if isinstance(given, list) else []
    if len(ends) != 2 or not all(type(end) in (int, float) and math.isfinite(end) for end in ends) or ends[0] > ends[1]:
        raise UsageError(f"the range of grid '{name}' is {given!r}; give two numbers, the lesser first")
    return float(ends[0]), float(ends[1])
