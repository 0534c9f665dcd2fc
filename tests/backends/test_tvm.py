"""Compiled libraries hold what onnxruntime computes; what cannot be compiled is named before compiling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxprune.backends import Artifact, Backend, load_target, tvm
from onnxprune.backends.static import fix_shapes
from onnxprune.errors import BackendError

HOST = load_target("host")
Feeds = Mapping[str, np.ndarray]

CLASSIFIER = """(float[N,3,8,8] x) => (float[N,5] y, float[N,4,4,4] features)
    <float[4,3,3,3] w, float[4] b, float[64,5] v, float[5] c>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
      features = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)  f = Flatten(features)  y = Gemm(f, v, c) }"""
RESIDUAL = """(float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,3,3] w>
    { a = Conv<pads=[1,1,1,1]>(x, w)  s = Add(a, x)  y = Relu(s) }"""
SPECTRUM = """(float[1,1,576] x) => (float[1,258,3] y) <float[258,1,256] w> { y = Conv<strides=[128]>(x, w) }"""
NORMED = """(float[2,3,4,5] x) => (float[2,3,4,5] y)
    { s = Mul(x, x)  m = ReduceMean<axes=[2,3]>(s)  r = Sqrt(m)  y = Div(x, r) }"""
SMOOTHED = """(float[1,3,6,6] x) => (float[1,3,6,6] y)
    { a = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)  b = Transpose<perm=[0,1,3,2]>(a)  y = Div(b, x) }"""
DEPTHWISE = """(float[1,4,6,6] x) => (float[1,6,3,3] y) <float[4,1,3,3] d, float[6,4,1,1] p>
    { a = Conv<group=4, pads=[1,1,1,1], strides=[2,2]>(x, d)  y = Conv(a, p) }"""
EMBEDDING = """(int64[N,3] words, float[N,3,1] weights) => (int64[N] best, float[N,4] mean) <float[7,4] table>
    { e = Gather(table, words)  m = Mul(e, weights)
      mean = ReduceMean<axes=[1], keepdims=0>(m)  best = ArgMax<axis=1, keepdims=0>(mean) }"""
SHAPES = """(float[N,2,4] x) => (float[N,8] y) <int64[1] first = {0}, int64[1] rest = {-1}>
    { s = Shape(x)  n = Gather(s, first)  t = Concat<axis=0>(n, rest)  y = Reshape(x, t) }"""
SPARE = """(float[1,4] x, float[2] spare, float[1,4] z) => (float[1,4] y, float[1,4] same, float[2] fixed)
    <float[2] one = {1, 2}>
    { y = Sub(x, z)  same = Identity(y)  fixed = Add(one, one) }"""
BRANCH = """(float[1,4] x, bool which) => (float[1,4] y)
    { y = If (which) <then_branch = t () => (float[1,4] a) { a = Relu(x) },
                      else_branch = e () => (float[1,4] b) { b = Neg(x) }> }"""


def net(text: str, opset: int = 17) -> onnx.ModelProto:
    """A model from ONNX text; what is declared without a value is a weight, drawn from a fixed seed."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]> net {text}')
    rng = np.random.default_rng(0)
    for info in model.graph.value_info:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, info.name))
    del model.graph.value_info[:]
    return model


def feeds_of(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def onnxruntime(model: onnx.ModelProto, feeds: Feeds) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def assert_equal(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    assert [(a.shape, a.dtype) for a in got] == [(b.shape, b.dtype) for b in want]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        pytest.param(CLASSIFIER, {"x": (2, 3, 8, 8)}, id="two outputs"),
        pytest.param(RESIDUAL, {"x": (1, 4, 6, 6)}, id="residual"),
        pytest.param(DEPTHWISE, {"x": (1, 4, 6, 6)}, id="depthwise"),
        pytest.param(NORMED, {"x": (2, 3, 4, 5)}, id="a mean that a larger tensor is divided by"),
        pytest.param(SMOOTHED, {"x": (1, 3, 6, 6)}, id="means of windows with edges, in another order"),
        pytest.param(SPECTRUM, {"x": (1, 1, 576)}, id="a window that no registers hold"),
        pytest.param(SHAPES, {"x": (3, 2, 4)}, id="shape computation"),
        pytest.param(SPARE, {"x": (1, 4), "spare": (2,), "z": (1, 4)}, id="unused input, constant output"),
    ],
)
def test_a_library_computes_what_onnxruntime_does(
    text: str, shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    model, feeds = net(text), feeds_of(shapes)
    built = tvm.build(model, HOST, tmp_path / "model.so", shapes)
    assert_equal(tvm.run(built.artifact, list(feeds.values())), onnxruntime(model, feeds))
    assert tvm.verify(built.artifact, model, [feeds]) < 1e-5


OLD = """(float[1,2,4,4] x) => (float[1,2,8,6] y)
    { u = Upsample<scales=[1.0,1.0,2.0,2.0]>(x)  s = Slice<axes=[3], starts=[1], ends=[7]>(u)
      y = Clip<min=-0.5, max=0.5>(s) }"""


def test_a_model_of_an_old_opset_is_compiled_as_what_it_means(tmp_path: Path) -> None:
    model, feeds = net(OLD, 8), feeds_of({"x": (1, 2, 4, 4)})
    built = tvm.build(model, HOST, tmp_path / "model.so", {})
    assert_equal(tvm.run(built.artifact, [feeds["x"]]), onnxruntime(model, feeds))
    assert model == net(OLD, 8)


def test_a_node_that_cannot_be_lifted_for_the_compiler_is_named(tmp_path: Path) -> None:
    text = "(float[1,1,4,4] x) => (float[1,1,8,2] y) { y = Resize(x, s) }"
    model = net(text, 10)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 0.5]), "s"))
    with pytest.raises(BackendError, match="Resize 'y' cannot be lifted from opset 10 to 11"):
        tvm.build(model, HOST, tmp_path / "model.so", {})


def test_integer_inputs_and_outputs_keep_their_order_and_type(tmp_path: Path) -> None:
    model = net(EMBEDDING)
    words = np.array([[0, 6, 3], [2, 2, 5]])
    feeds = {"words": words, "weights": np.float32([[[1], [2], [3]], [[3], [1], [2]]])}
    tvm.build(model, HOST, tmp_path / "model.so", {"words": (2, 3), "weights": (2, 3, 1)})
    assert_equal(tvm.run(tmp_path / "model.so", list(feeds.values())), onnxruntime(model, feeds))


def test_the_library_is_a_relax_executable_with_the_weights_inside(tmp_path: Path) -> None:
    import tvm as upstream

    model, feeds = net(RESIDUAL), feeds_of({"x": (1, 4, 6, 6)})
    tvm.build(model, HOST, tmp_path / "model.so", {})
    module = upstream.runtime.load_module(str(tmp_path / "model.so"))
    output = upstream.relax.VirtualMachine(module, upstream.cpu())["main"](upstream.runtime.tensor(feeds["x"]))
    assert_equal([output.numpy()], onnxruntime(model, feeds))


def test_the_artifact_is_a_report_row(tmp_path: Path) -> None:
    path = tmp_path / "host" / "model.so"
    built = tvm.build(net(RESIDUAL), HOST, path, {})
    assert built == Artifact(name="host", artifact=path, bytes=path.stat().st_size)
    assert built.to_dict() == {
        "name": "host",
        "artifact": str(path),
        "emit": "so",
        "bytes": path.stat().st_size,
        "verified": "none",
        "why": None,
        "max_abs_error": None,
        "max_rel_error": None,
        "latency_ms": None,
        "folder_bytes": None,
        "missing": None,
    }


def test_the_module_is_a_backend() -> None:
    backend: Backend = tvm
    assert backend.runs_here(HOST)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tvm.build(net(RESIDUAL), HOST, tmp_path / name / "model.so", {})
    assert (tmp_path / "a/model.so").read_bytes() == (tmp_path / "b/model.so").read_bytes()


def test_a_rebuilt_library_is_loaded_anew(tmp_path: Path) -> None:
    feeds, path = feeds_of({"x": (1, 4, 6, 6)}), tmp_path / "model.so"
    for text in (RESIDUAL, DEPTHWISE):
        tvm.build(net(text), HOST, path, {})
        assert_equal(tvm.run(path, list(feeds.values())), onnxruntime(net(text), feeds))


def test_other_targets_of_this_architecture_compile(tmp_path: Path) -> None:
    target = load_target("x86-64")
    if target.foreign:
        pytest.skip("this machine is not an x86-64")
    model, feeds = net(DEPTHWISE), feeds_of({"x": (1, 4, 6, 6)})
    tvm.build(model, target, tmp_path / "model.so", {})
    assert tvm.runs_here(target)
    assert tvm.verify(tmp_path / "model.so", model, [feeds]) < 1e-5


def test_another_architecture_does_not_run_here() -> None:
    assert not all(tvm.runs_here(load_target(name)) for name in ("x86-64", "rpi4"))


def test_weights_that_an_old_model_lists_among_its_inputs_go_inside(tmp_path: Path) -> None:
    model, feeds = net(RESIDUAL), feeds_of({"x": (1, 4, 6, 6)})
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 4, 3, 3]))
    model.ir_version = 3
    tvm.build(model, HOST, tmp_path / "model.so", {})
    assert_equal(tvm.run(tmp_path / "model.so", list(feeds.values())), onnxruntime(model, feeds))


def test_zig_links_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang", reason="the extra 'cross' is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    model, feeds = net(RESIDUAL), feeds_of({"x": (1, 4, 6, 6)})
    tvm.build(model, HOST, tmp_path / "model.so", {})
    assert tvm.verify(tmp_path / "model.so", model, [feeds]) < 1e-5


def test_verify_sees_a_wrong_library(tmp_path: Path) -> None:
    wrong = net(RESIDUAL)
    weights = numpy_helper.to_array(wrong.graph.initializer[0]) * 1.01
    wrong.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights.astype(np.float32), "w"))
    tvm.build(wrong, HOST, tmp_path / "model.so", {})
    assert tvm.verify(tmp_path / "model.so", net(RESIDUAL), [feeds_of({"x": (1, 4, 6, 6)})]) > 1e-3


LOOP = """(int64 trips, float[4] x) => (float[4] y) <bool go = {1}>
    { y = Loop (trips, go, x) <body = b (int64 i, bool c, float[4] a) => (bool d, float[4] e)
                                      { d = Identity(c)  e = Einsum<equation="i->i">(a) }> }"""
SCAN = """(float[3,4] x) => (float[4] y) <float[4] w>
    { y, z = Scan<num_scan_inputs=1, body = b (float[4] a, float[4] c) => (float[4] d, float[4] e)
                  { d = Add(a, c)  e = Neg(c) }>(w, x) }"""


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        pytest.param(BRANCH, ["If"], id="a branch, with what is inside it"),
        pytest.param(LOOP, ["Loop"], id="a loop"),
        pytest.param(SCAN, ["Scan"], id="a scan"),
        pytest.param("(float[2,2] x) => (float y) { y = Det(x) }", ["Det"], id="no such operator"),
        pytest.param(
            "(float[4] x) => (float[4] y) { y = com.microsoft.Gelu(x) }", ["Gelu"], id="a name of two domains"
        ),
        pytest.param(
            "(float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i)"
            " { y, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }",
            ["MaxPool"],
            id="indices of a pool",
        ),
        pytest.param(
            "(uint8[2,32] x, float[2,2] s) => (float[2,32] y) { y = DequantizeLinear<axis=1, block_size=16>(x, s) }",
            ["DequantizeLinear"],
            id="blocked quantisation",
        ),
        pytest.param(
            "(float[8] x) => (float[3] y, int64[3] i) <int64[1] k = {3}> { y, i = TopK<sorted=0>(x, k) }",
            ["TopK"],
            id="unsorted TopK",
        ),
    ],
)
def test_what_the_frontend_lacks_is_named(text: str, lacks: list[str]) -> None:
    model = fix_shapes(net(text, 21), {})
    node = model.graph.node[0]
    found = tvm.unsupported(model)
    assert [lack.op for lack in found] == lacks
    assert found[0].node == (node.name or node.output[0])


ON_A_SIZE = """(float[N,4] x) => (float[N,M] y) <int64 axis = {0}, int64 two = {2}>
    { s = Shape(x)  n = Gather(s, axis)  many = Greater(n, two)
      y = If (many) <then_branch = t () => (float[K,L] a) { a = Relu(x) },
                     else_branch = e () => (float[K,L] b) { b = Neg(x) }> }"""


@pytest.mark.parametrize("size", [2, 3])
def test_a_branch_on_a_size_is_taken_when_the_size_is_fixed(size: int, tmp_path: Path) -> None:
    model, feeds = net(ON_A_SIZE), feeds_of({"x": (size, 4)})
    tvm.build(model, HOST, tmp_path / "model.so", {"x": (size, 4)})
    assert_equal(tvm.run(tmp_path / "model.so", list(feeds.values())), onnxruntime(model, feeds))


def test_a_local_function_is_judged_by_its_body(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "mine": 1]>
        net (float[1,4] x) => (float[1,4] y) { y = mine.twice(x) }
        <domain: "mine", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }""")
    assert tvm.unsupported(fix_shapes(model, {})) == []
    tvm.build(model, HOST, tmp_path / "model.so", {})
    assert tvm.verify(tmp_path / "model.so", model, [feeds_of({"x": (1, 4)})]) == 0


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        pytest.param(BRANCH, {}, "TVM cannot compile If .'y'.; leave out the target", id="unsupported"),
        pytest.param(CLASSIFIER, {}, r"'x' leaves sizes open: \[N, 3, 8, 8\]; .* --shape x=1,3,8,8", id="dynamic"),
        pytest.param(CLASSIFIER, {"x": (0, 3, 8, 8)}, r"'x' is to be \[0, 3, 8, 8\], which holds nothing", id="empty"),
        pytest.param(CLASSIFIER, {"x": (1, 3, 9, 8)}, r"\[N, 3, 8, 8\] .* cannot be \[1, 3, 9, 8\]", id="other shape"),
        pytest.param(RESIDUAL, {"X": (1, 4, 6, 6)}, "no input 'X'", id="other name"),
        pytest.param(
            "(float[1,1,4,4] x, float[4] s) => (float[1,1,N,M] y) { y = Resize(x, , s) }",
            {},
            r"TVM cannot compile Resize \('y'; 's' is computed at run time\); leave out the target",
            id="refused by the frontend",
        ),
    ],
)
def test_a_failure_says_where_and_leaves_nothing(
    text: str, shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match=message):
        tvm.build(net(text), HOST, tmp_path / "model.so", shapes)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_failing_linker_leaves_the_old_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.so").write_bytes(b"old")
    monkeypatch.setattr(tvm, "find_linker", lambda target: ["false"])
    with pytest.raises(BackendError, match="the linker failed"):
        tvm.build(net(RESIDUAL), HOST, tmp_path / "model.so", {})
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("model.so", b"old")]


def test_inputs_of_another_shape_are_refused(tmp_path: Path) -> None:
    tvm.build(net(RESIDUAL), HOST, tmp_path / "model.so", {})
    program = tvm.load(tmp_path / "model.so")
    with pytest.raises(BackendError, match=r"does not run on inputs float32\[1, 4, 6, 5\]"):
        program([np.zeros((1, 4, 6, 5), np.float32)])
    assert program([np.zeros((1, 4, 6, 6), np.float32)])[0].shape == (1, 4, 6, 6)


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.so").write_bytes(b"not a library")
    with pytest.raises(BackendError, match="cannot be loaded here"):
        tvm.load(tmp_path / "model.so")
