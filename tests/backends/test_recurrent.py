"""LSTM, GRU and RNN written out step by step compute what onnxruntime does, whatever their options."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxprune.backends import load_target, tvm
from onnxprune.backends.lowering import lowered
from onnxprune.backends.lowering.recurrent import LONGEST
from onnxprune.errors import BackendError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
DIRECTIONS = ("forward", "reverse", "bidirectional")
FEATURES, HIDDEN = 3, 5
Feeds = Mapping[str, np.ndarray]


def network(op: str, given: str = "b h c", steps: int = 4, batch: int = 2, seed: int = 0, **options: Any) -> Any:
    """One recurrent node and its feed; ``given`` are optional inputs: b, h, c, p (peepholes) and l (lengths)."""
    rng, ways = np.random.default_rng(seed), 1 + (options.get("direction") == "bidirectional")
    rows = GATES[op] * HIDDEN
    state = (batch, ways, HIDDEN) if options.get("layout") else (ways, batch, HIDDEN)
    whole = (batch, steps, ways, HIDDEN) if options.get("layout") else (steps, ways, batch, HIDDEN)
    shapes = {"w": (ways, rows, FEATURES), "r": (ways, rows, HIDDEN), "b": (ways, 2 * rows)}
    shapes |= {"h": state, "c": state, "p": (ways, 3 * HIDDEN)}
    order = "w r b l h c p" if op == "LSTM" else "w r b l h"
    names = [name if name in f"w r {given}".split() else "" for name in order.split()]
    weights = {n: rng.uniform(-0.4, 0.4, shapes[n]).astype(np.float32) for n in names if n in shapes}
    weights |= {"l": np.full(batch, steps, np.int32)} if "l" in names else {}
    ends, outputs = {"y": whole, "y_h": state, "y_c": state}, ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, ["x", *names], outputs, "cell", hidden_size=HIDDEN, **options)
    shape = (batch, steps, FEATURES) if options.get("layout") else (steps, batch, FEATURES)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ends[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return model, {"x": rng.normal(size=shape).astype(np.float32)}


def run(model: onnx.ModelProto, feeds: Feeds) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    table = {("", schema.name) for schema in onnx.defs.get_all_schemas()} - {("", op) for op in GATES}
    result = lowered(model, table)
    assert result.lacks == ()
    assert {node.op_type for node in result.model.graph.node}.isdisjoint(GATES)
    onnx.checker.check_model(result.model, full_check=True)
    return result.model


def assert_near(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    assert [a.shape for a in got] == [b.shape for b in want]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def assert_as_in_onnxruntime(op: str, given: str = "b h c", **options: Any) -> None:
    model, feeds = network(op, given, **options)
    assert_near(run(written_out(model), feeds), run(model, feeds))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_every_direction_with_and_without_what_is_optional(op: str, direction: str) -> None:
    for given, (steps, batch) in itertools.product(("", "b", "h c", "b h c l"), ((1, 1), (4, 2), (3, 1))):
        assert_as_in_onnxruntime(op, given, direction=direction, steps=steps, batch=batch)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("RNN", {"clip": 0.3}),
        ("GRU", {"clip": 0.3}),
        ("LSTM", {"clip": 0.3}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 1, "clip": 0.3}),
        ("LSTM", {"given": "b h c p"}),
        ("LSTM", {"given": "h p", "clip": 0.3}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"input_forget": 1, "given": "b c p"}),
    ],
)
def test_every_option(op: str, options: dict[str, Any], direction: str) -> None:
    assert_as_in_onnxruntime(op, direction=direction, **options)


def test_a_reset_without_biases() -> None:
    assert_as_in_onnxruntime("GRU", "h", linear_before_reset=1)


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("Affine", 0.5, 0.1),
        ("Elu", 0.7, None),
        ("HardSigmoid", 0.3, 0.4),
        ("LeakyRelu", 0.2, None),
        ("Relu", None, None),
        ("ScaledTanh", 0.8, 0.6),
        ("Sigmoid", None, None),
        ("Softplus", None, None),
        ("Softsign", None, None),
        ("Tanh", None, None),
        ("ThresholdedRelu", 0.3, None),
    ],
)
@pytest.mark.parametrize("op", GATES)
def test_every_activation(op: str, name: str, alpha: float | None, beta: float | None) -> None:
    count = ACTIVATIONS[op]
    options: dict[str, Any] = {"activations": [name] * count}
    options |= {} if alpha is None else {"activation_alpha": [alpha] * count}
    options |= {} if beta is None else {"activation_beta": [beta] * count}
    assert_as_in_onnxruntime(op, steps=2, **options)


def test_parameters_go_to_those_activations_that_take_one() -> None:
    names = ["HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "Elu", "HardSigmoid"]
    options = {"activation_alpha": [0.3, 0.2, 0.7, 0.1], "activation_beta": [0.4, 0.6]}
    assert_as_in_onnxruntime("LSTM", direction="bidirectional", activations=names, **options)


@pytest.mark.parametrize(("name", "alpha"), [("LeakyRelu", 0.01), ("Elu", 1.0)])
def test_defaults_of_parameters_are_those_of_the_operators(name: str, alpha: float) -> None:
    plain, feeds = network("RNN", activations=[name])
    spoken, _ = network("RNN", activations=[name], activation_alpha=[alpha])
    assert_near(run(written_out(plain), feeds), run(spoken, feeds))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_batches_may_come_first(op: str, direction: str) -> None:
    """onnxruntime has no such layout: the reference is the other one, transposed."""
    model, feeds = network(op, direction=direction)
    first, _ = network(op, direction=direction, layout=1)
    for tensor in first.graph.initializer:
        if tensor.name in ("h", "c"):
            states = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == tensor.name)
            tensor.CopyFrom(numpy_helper.from_array(states.swapaxes(0, 1), tensor.name))
    whole, *ends = run(model, feeds)
    want = [whole.transpose(2, 0, 1, 3), *(end.swapaxes(0, 1) for end in ends)]
    assert_near(run(written_out(first), {"x": feeds["x"].swapaxes(0, 1)}), want)


def test_weights_may_be_computed() -> None:
    model, feeds = network("LSTM")
    for name, tensor in (("w", model.graph.initializer[0]), ("h", model.graph.initializer[3])):
        assert tensor.name == name
        model.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        feeds[name] = numpy_helper.to_array(tensor)
    del model.graph.initializer[3], model.graph.initializer[0]
    assert_near(run(written_out(model), feeds), run(model, feeds))


def test_an_output_that_is_omitted_is_not_written() -> None:
    model, feeds = network("LSTM")
    model.graph.node[0].output[0] = ""
    del model.graph.output[0]
    assert_near(run(written_out(model), feeds), run(model, feeds))


def test_a_wrong_rewriting_is_found() -> None:
    """The control: gates in another order."""
    model, feeds = network("LSTM")
    wrong = written_out(model)
    axes = [node for node in wrong.graph.node if node.op_type == "Tanh"]
    axes[0].op_type = "Sigmoid"
    with pytest.raises(AssertionError):
        assert_near(run(wrong, feeds), run(model, feeds))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"steps": LONGEST + 1}, f"it runs {LONGEST + 1} steps; 1 to {LONGEST} can be written out"),
        ({"activations": ["Affine", "Tanh", "Tanh"]}, "activation 'Affine' lacks an alpha or a beta"),
        ({"activations": ["Sigmoid", "Swish", "Tanh"]}, "activation 'Swish' is not known"),
    ],
)
def test_what_cannot_be_written_out_is_named_with_the_reason(options: dict[str, Any], why: str) -> None:
    model, _ = network("LSTM", **options)
    (lack,) = tvm.unsupported(model)
    assert lack[:2] == ("LSTM", "cell")
    assert why in lack.why


def test_sequences_of_several_lengths_are_named() -> None:
    model, _ = network("GRU", "b l")
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.int32([4, 3]), "l"))
    assert tvm.unsupported(model) == [("GRU", "cell", "its sequences are of several lengths ('l')")]


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("LSTM", {"direction": "bidirectional", "given": "b h c p"}),
        ("GRU", {"direction": "reverse", "linear_before_reset": 1}),
        ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [0.8], "activation_beta": [0.6]}),
    ],
)
def test_compiled_they_compute_the_same(op: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, feeds = network(op, **options)
    path = tmp_path / "model.so"
    tvm.build(model, load_target("host"), path, {})
    assert_near(tvm.run(path, list(feeds.values())), run(model, feeds))


def test_a_state_that_is_fed_is_carried_from_call_to_call(tmp_path: Path) -> None:
    """One step a call, as streaming networks are used, is as many steps at once."""
    whole, feeds = network("LSTM", steps=4, batch=1)
    step, _ = network("LSTM", steps=1, batch=1)
    state = {t.name: numpy_helper.to_array(t) for t in step.graph.initializer if t.name in ("h", "c")}
    kept = [t for t in step.graph.initializer if t.name not in state]
    del step.graph.initializer[:]
    step.graph.initializer.extend(kept)
    for name, value in state.items():
        step.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape))
    tvm.build(step, load_target("host"), tmp_path / "model.so", {})
    program, ends = tvm.load(tmp_path / "model.so"), [state["h"], state["c"]]
    for t in range(4):
        ends = program([feeds["x"][t : t + 1], *ends])[1:]
    assert_near(ends, run(whole, feeds)[1:])


def test_a_failure_to_write_out_is_refused_before_compiling(tmp_path: Path) -> None:
    model, _ = network("RNN", steps=LONGEST + 1)
    with pytest.raises(BackendError, match=r"TVM cannot compile RNN \('cell'; it runs 257 steps.*; leave out the"):
        tvm.build(model, load_target("host"), tmp_path / "model.so", {})
    assert list(tmp_path.iterdir()) == []
