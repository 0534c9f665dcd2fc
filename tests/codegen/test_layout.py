"""Blocks of channels are carried through the graph: what is converted is its inputs and outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper
from tvm import relax, tirx

from onnxprune.backends import load_target
from onnxprune.backends.processors import tvm_target
from onnxprune.backends.static import fix_shapes
from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.importer import imported
from onnxprune.codegen.pipeline import lowered

from .test_kernels import model

HOST = replace(load_target("host"), vector_bits=128)


def functions(proto: onnx.ModelProto) -> list[str]:
    """The names of the functions that a model becomes, in the order of their calls."""
    cpu = Cpu.of(HOST)
    with tvm_target(HOST):
        module = lowered(imported(fix_shapes(proto, {}), cpu), cpu)
    assert all(isinstance(func, tirx.PrimFunc) for name, func in module.functions.items() if name.name_hint != "main")
    calls: list[str] = []

    def visit(expr: object) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.call_tir":
            calls.append(expr.args[0].name_hint)

    relax.analysis.post_order_visit(module["main"], visit)
    return calls


def residual(channels: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal((channels, c, 3, 3), dtype=np.float32) for name, c in (("v", 8), ("w", channels))
    }
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], pads=[1] * 4),
        helper.make_node("HardSwish", ["a"], ["h"]),
        helper.make_node("Conv", ["h", "w"], ["b"], pads=[1] * 4),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("LeakyRelu", ["s"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2]),
    ]
    return model((1, 8, 12, 12), nodes, weights)


@pytest.mark.parametrize("channels", [16, 13])
def test_nothing_is_converted_between_layers(channels: int) -> None:
    """Thirteen channels do not fill their last block; that changes nothing."""
    found = functions(residual(channels))
    assert [name for name in found if name.startswith("block")] == found[:1]
    assert [name for name in found if "unblock" in name] == found[-1:]
    assert sum("product" in name for name in found) == 2


def test_what_follows_a_layer_is_computed_with_it() -> None:
    products = [name for name in functions(residual(13)) if "product" in name]
    assert any("hardswish" in name for name in products) or any("leakyrelu" in name for name in products)
    assert any("add" in name for name in products)


def test_an_operator_without_a_rule_reads_the_plain_form() -> None:
    """The control: here a conversion does stand between two layers."""
    weights = {"w": np.ones((8, 8, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("CumSum", ["a", "axis"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"]),
    ]
    found = functions(model((1, 8, 4, 4), nodes, {**weights, "axis": np.int64(3)}))
    assert any("unblock" in name for name in found[:-1])
