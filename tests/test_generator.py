"""The random models are valid, alive and repeatable, and between them hold every ingredient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from generator import random_feeds, random_model, table
from generator.builder import Builder, Value
from onnx import helper, numpy_helper

from onnxprune.runtime import Session

SEEDS = range(200)


@dataclass(frozen=True)
class Net:
    """A random model and what the tests ask of it."""

    seed: int

    @cached_property
    def model(self) -> onnx.ModelProto:
        return random_model(self.seed)

    @cached_property
    def opset(self) -> int:
        return self.model.opset_import[0].version

    @cached_property
    def constants(self) -> dict[str, np.ndarray]:
        stored = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        spoken = [n for n in self.model.graph.node if n.op_type == "Constant"]
        return stored | {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in spoken}

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        graph = onnx.shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True).graph
        known = [*graph.value_info, *graph.input, *graph.output]
        return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}

    @cached_property
    def session(self) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        return ort.InferenceSession(self.model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(self, seed: int) -> list[np.ndarray]:
        return self.session.run(None, random_feeds(self.model, seed))


@cache
def net(seed: int) -> Net:
    return Net(seed)


@dataclass(frozen=True)
class Site:
    """A node where it stands."""

    net: Net
    node: onnx.NodeProto

    def __getitem__(self, attribute: str) -> Any:
        found = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        return found.get(attribute)

    def constant(self, index: int) -> np.ndarray | None:
        """The constant that is this input, if it is one."""
        return self.net.constants.get(self.node.input[index]) if index < len(self.node.input) else None

    def sizes(self, index: int) -> list[int]:
        """The sizes of the constant that is this input; none if it comes out of a node."""
        constant = self.constant(index)
        return [] if constant is None else list(constant.shape)

    def numbers(self, index: int) -> list[int]:
        """The numbers in the constant that is this input; none if it comes out of a node."""
        constant = self.constant(index)
        return [] if constant is None else [int(number) for number in constant]

    def multiplier(self) -> float:
        """Outputs per group of a depthwise convolution, else zero."""
        sizes = self.sizes(1)
        return sizes[0] / self["group"] if sizes and sizes[1] == 1 and self["group"] > 1 else 0


def uneven(site: Site) -> bool:
    return len(set(site["split"] or site.numbers(1))) > 1


def spatial_flatten(site: Site) -> bool:
    return math.prod(site.net.shapes[site.node.input[0]][2:]) > 1


OPERATORS = """
    Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose CumSum DepthToSpace Div Dropout
    Expand Flatten Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity If InstanceNormalization LRN
    LayerNormalization LeakyRelu MatMul MaxPool Mul PRelu Pad ReduceMean ReduceSum Relu Reshape Sigmoid Slice Softmax
    SpaceToDepth Split Squeeze Sub Sum Tanh Transpose Unsqueeze
"""

FORMS: dict[str, tuple[str, Callable[[Site], bool]]] = {
    "conv without bias": ("Conv", lambda s: len(s.node.input) == 2),
    "conv with bias": ("Conv", lambda s: len(s.node.input) == 3),
    "conv with stride": ("Conv", lambda s: 2 in (s["strides"] or [])),
    "conv with dilation": ("Conv", lambda s: 2 in (s["dilations"] or [])),
    "conv with uneven pads": ("Conv", lambda s: s["pads"] is not None and s["pads"][:2] != s["pads"][2:]),
    "conv with kernel 5": ("Conv", lambda s: 5 in s["kernel_shape"]),
    "grouped conv": ("Conv", lambda s: s["group"] > 1 and len(s.sizes(1)) == 4 and s.sizes(1)[1] > 1),
    "depthwise conv": ("Conv", lambda s: s.multiplier() == 1),
    "depthwise conv with multiplier": ("Conv", lambda s: s.multiplier() > 1),
    "conv weight behind a node": ("Conv", lambda s: not s.sizes(1)),
    "clip by attribute": ("Clip", lambda s: len(s.node.attribute) > 0),
    "clip by input": ("Clip", lambda s: len(s.node.input) > 1),
    "clip with an input left out": ("Clip", lambda s: "" in s.node.input),
    "sum with a constant [C,1,1]": ("Add Sub", lambda s: [1, 1] in (s.sizes(0)[1:], s.sizes(1)[1:])),
    "sum with a constant [1,C,1,1]": ("Add Sub", lambda s: [1, 1] in (s.sizes(0)[2:], s.sizes(1)[2:])),
    "product with a constant [C,1,1]": ("Mul Div", lambda s: [1, 1] in (s.sizes(0)[1:], s.sizes(1)[1:])),
    "product with a constant [1,C,1,1]": ("Mul Div", lambda s: [1, 1] in (s.sizes(0)[2:], s.sizes(1)[2:])),
    "product with a scalar": ("Mul", lambda s: s.constant(1) is not None and not s.sizes(1)),
    "concat of a tensor with itself": ("Concat", lambda s: len(set(s.node.input)) < len(s.node.input)),
    "concat of three": ("Concat", lambda s: len(s.node.input) == 3),
    "concat by negative axis": ("Concat", lambda s: s["axis"] < 0),
    "split by attribute": ("Split", lambda s: s["split"] is not None),
    "split by input": ("Split", lambda s: len(s.node.input) == 2),
    "split by number": ("Split", lambda s: s["num_outputs"] is not None),
    "uneven split": ("Split", uneven),
    "split in three": ("Split", lambda s: len(s.node.output) == 3),
    "mean over axes by attribute": ("ReduceMean", lambda s: s["axes"] is not None),
    "mean over axes by input": ("ReduceMean", lambda s: len(s.node.input) == 2),
    "sum over axes by attribute": ("ReduceSum", lambda s: s["axes"] is not None),
    "sum over axes by input": ("ReduceSum", lambda s: len(s.node.input) == 2),
    "squeeze by attribute": ("Squeeze", lambda s: s["axes"] is not None),
    "squeeze by input": ("Squeeze", lambda s: len(s.node.input) == 2),
    "unsqueeze by attribute": ("Unsqueeze", lambda s: s["axes"] is not None),
    "unsqueeze by input": ("Unsqueeze", lambda s: len(s.node.input) == 2),
    "pad by attribute": ("Pad", lambda s: s["pads"] is not None),
    "pad by input": ("Pad", lambda s: len(s.node.input) == 2),
    "pad of channels": ("Pad", lambda s: (s["pads"] or s.numbers(1))[5] > 0),
    "to channels last": ("Transpose", lambda s: s["perm"] == [0, 2, 3, 1]),
    "channel shuffle": ("Transpose", lambda s: s["perm"] == [0, 2, 1, 3, 4]),
    "flatten of pixels": ("Flatten", spatial_flatten),
    "reshape with a 0": ("Reshape", lambda s: 0 in s.numbers(1)),
    "reshape with a -1": ("Reshape", lambda s: -1 in s.numbers(1)),
    "reshape with sizes alone": ("Reshape", lambda s: min(s.numbers(1)) > 0),
    "reshape to a vector": ("Reshape", lambda s: len(s.numbers(1)) == 2 and spatial_flatten(s)),
    "gemm with weight upright": ("Gemm", lambda s: not s["transB"]),
    "gemm with weight flipped": ("Gemm", lambda s: s["transB"] == 1),
    "gemm with alpha": ("Gemm", lambda s: s["alpha"] is not None),
    "gemm with beta": ("Gemm", lambda s: s["beta"] is not None),
    "gemm without bias": ("Gemm", lambda s: len(s.node.input) == 2),
    "matmul with images": ("MatMul", lambda s: len(s.net.shapes[s.node.input[0]]) == 4),
    "matmul with tokens": ("MatMul", lambda s: len(s.net.shapes[s.node.input[0]]) == 3),
    "identity of a constant": ("Identity", lambda s: s.constant(0) is not None),
    "cast of a constant": ("Cast", lambda s: s.constant(0) is not None),
    "dropout with unread mask": ("Dropout", lambda s: len(s.node.output) == 2),
}


def sites(operators: str) -> list[Site]:
    wanted = operators.split()
    return [Site(net(seed), node) for seed in SEEDS for node in net(seed).model.graph.node if node.op_type in wanted]


def share(question: Callable[[Net], bool]) -> float:
    return sum(question(net(seed)) for seed in SEEDS) / len(SEEDS)


def is_dynamic(net: Net) -> bool:
    return net.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def shares_constants(net: Net) -> bool:
    reads = [name for node in net.model.graph.node for name in set(node.input) & set(net.constants)]
    return len(set(reads)) < len(reads)


def follows_input(net: Net) -> bool:
    pairs = zip(net.run(0), net.run(1), strict=True)
    return all(bool(np.abs(one - other).max() > 1e-3 * np.abs(one).max()) for one, other in pairs)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_is_repeatable_valid_and_alive(seed: int) -> None:
    model = net(seed).model
    assert random_model(seed).SerializeToString() == model.SerializeToString()
    onnx.checker.check_model(model, full_check=True)
    for value, result in zip(model.graph.output, net(seed).run(0), strict=True):
        assert [d.dim_value or 2 for d in value.type.tensor_type.shape.dim] == list(result.shape)
        assert np.isfinite(result).all()
        assert np.abs(result).max() < 1e3
        assert result.std() > 1e-3


@pytest.mark.parametrize("operator", OPERATORS.split())
def test_every_operator_occurs(operator: str) -> None:
    assert len(sites(operator)) >= 3


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_operator_occurs(form: str) -> None:
    operators, holds = FORMS[form]
    assert sum(bool(holds(site)) for site in sites(operators)) >= 3


def test_graphs_differ_in_their_interface() -> None:
    assert 0.2 < share(is_dynamic) < 0.8
    assert 0.1 < share(lambda net: len(net.model.graph.output) == 2) < 0.5
    assert 0.1 < share(lambda net: len({v.name for v in net.model.graph.input} & set(net.constants)) > 0) < 0.7
    assert share(lambda net: len(net.model.graph.value_info) > 0) > 0.1
    assert {net(seed).opset for seed in SEEDS} == {7, 8, 9, 11, 13, 17, 18, 21}


def test_constants_are_shared_in_many_graphs() -> None:
    assert share(shares_constants) > 0.1


def test_outputs_follow_the_input_in_nearly_all_graphs() -> None:
    assert share(follows_input) > 0.95


def test_equal_seeds_give_equal_feeds_and_dynamic_sizes_are_the_batch() -> None:
    model = next(net(seed).model for seed in SEEDS if is_dynamic(net(seed)))
    one, again, other = (random_feeds(model, seed, batch=5) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], again[name]) and len(one[name]) == 5 for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("seed", range(40))
def test_a_model_with_rare_forms_is_repeatable_and_runs(seed: int) -> None:
    model = random_model(seed, rare=True)
    assert random_model(seed, rare=True).SerializeToString() == model.SerializeToString()
    results = Session(model, threads=1, optimise=False)(random_feeds(model, seed))
    assert all(np.isfinite(result).all() for result in results)


def test_every_rare_ingredient_and_opset_is_taken_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Counter[str] = Counter()
    for made in (table.blocks, table.activations, table.vectors, table.denses):
        for name, each in made.ingredients.items():
            counted = partial(count_and_make, taken, name, each.make)
            monkeypatch.setitem(made.ingredients, name, replace(each, make=counted))
    opsets = {random_model(seed, rare=True).opset_import[0].version for seed in range(800)}
    rare = {name for made in (table.blocks, table.activations, table.vectors, table.denses)
            for name, each in made.ingredients.items() if each.rare}  # fmt: skip
    assert rare <= taken.keys()
    assert opsets == set(range(7, 27))


def count_and_make(taken: Counter[str], name: str, make: table.Make, b: Builder, x: Value) -> Value:
    taken[name] += 1
    return make(b, x)
