"""Every operator there is has a rule, or a reason why it has none."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from onnxprune.axes.rules import declarations

DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft")
SCHEMAS = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
CONTRIBUTED = {(s.domain, s.name) for s in get_all_operator_schema() if s.domain == "com.microsoft"}
EXISTING = {f"{domain}.{name}".lstrip(".") for domain, name in SCHEMAS | CONTRIBUTED if domain in DOMAINS}


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_operator_is_declared(domain: str) -> None:
    found = {f"{d}.{name}".lstrip(".") for d, name in SCHEMAS | CONTRIBUTED if d == domain}
    assert len(found) > 0
    assert sorted(found - {each.operator for each in declarations()}) == []


def test_no_operator_is_declared_that_does_not_exist() -> None:
    assert sorted({each.operator for each in declarations()} - EXISTING) == []


def test_no_operator_is_declared_twice() -> None:
    count = Counter(each.operator for each in declarations())
    assert [name for name, times in count.items() if times > 1] == []


def test_a_barrier_has_a_reason() -> None:
    assert all((each.rule is None) == bool(each.barrier) for each in declarations())
