"""Models over 2 GB: weights stay in files, memory stays small, and what is written is whole."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from oracle import net, net_proto, run
from toys import NET, Scale, compress, tree, write_net

from benchmarks import large
from onnxprune import compression, proto, runtime, sizes, spool, weights
from onnxprune.analyses.importance import Magnitude
from onnxprune.constants import constant_values
from onnxprune.drafts import PREFIX
from onnxprune.errors import ModelError, UsageError
from onnxprune.external import entries, is_external
from onnxprune.model import Model
from onnxprune.wire import wire

MODELS = sorted((Path(__file__).parents[1] / "models").glob("*.onnx"))
WIDE = """(float[N,64] x) => (float[N,64] y) <float[64,600] w, float[600,600] u, float[600,64] v>
    { a = MatMul(x, w)  b = Relu(a)  c = MatMul(b, u)  d = Relu(c)  y = MatMul(d, v) }"""
WAIT = "print('ready', flush=True); import time; time.sleep(60)"
LIMIT = 200_000  # bytes, in the place of 2 GiB


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 GB become 200 KB, and weights from 64 KB on live in files."""
    for module in (compression, proto, runtime, sizes):
        monkeypatch.setattr(module, "TWO_GB", LIMIT, raising=False)
    monkeypatch.setattr("onnxprune.model.TWO_GB", LIMIT)
    monkeypatch.setattr("onnxprune.feeds.TWO_GB", LIMIT)
    monkeypatch.setattr(spool, "LARGE", 2**16)


# -- the whole way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "files"), [(0, 3), (2_000_000, 4)], ids=["in one file", "data beside it"])
def test_a_stack_of_matmuls_is_right(limit: int, files: int, tmp_path: Path) -> None:
    found = large.measure(tmp_path, 3, 1024, large.PASSES, limit)
    assert len(found["files"]) == files
    assert found["max_rel_error"] < 1e-5
    assert not found["orphaned_bytes"]
    assert 0.3 < found["bytes_out"] / found["bytes_in"] < 0.5


@pytest.mark.large
def test_a_model_of_4_gb_takes_no_more_than_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    found = large.measure(tmp_path, 16, 8192, large.PASSES, 0)
    assert found["bytes_in"] > 4 << 30
    assert found["peak_rss_bytes"] <= 1.5 * 2**30
    assert found["max_rel_error"] < 1e-5


@pytest.mark.large
def test_a_result_over_2_gb_has_its_weights_beside_it(tmp_path: Path) -> None:
    found = large.measure(tmp_path, 16, 8192, "prune:ratio=0.1:heal=none", 0)
    assert "model.onnx.data" in found["files"]
    assert (found["bytes_out"] > 2 << 30, found["orphaned_bytes"]) == (True, 0)
    assert found["peak_rss_bytes"] <= 1.5 * 2**30
    assert found["max_rel_error"] < 1e-5


def test_an_edited_weight_travels_to_another_process_by_value(small_limits: None) -> None:
    value = np.arange(2**15, dtype=np.float32)
    weight = spool.stored("w", value)
    assert weight.file is not None
    twin = pickle.loads(pickle.dumps(weight))
    assert twin.file is not None
    assert twin.file.path != weight.file.path
    del weight
    gc.collect()
    np.testing.assert_array_equal(twin.value(), value)


# -- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_stream_is_what_protobuf_writes(path: Path, tmp_path: Path) -> None:
    model = Model.load(path)
    whole = wire(model.lean())
    assert b"".join(whole) == model.proto().SerializeToString(deterministic=True)
    assert whole.size == sum(map(len, whole))
    onnx.save_model(onnx.load(path), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    beside = Model.load(tmp_path / "m.onnx")
    assert any(map(is_external, beside.lean().graph.initializer))
    assert b"".join(wire(beside.lean())) == b"".join(whole)


@pytest.mark.usefixtures("small_limits")
def test_every_byte_of_the_data_is_a_tensors_or_padding(tmp_path: Path) -> None:
    model = net(WIDE)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        model.copy().save(tmp_path / folder / "m.onnx")
    assert sorted(os.listdir(tmp_path / "a")) == ["m.onnx", "m.onnx.data"]
    assert list(tree(tmp_path / "a").values()) == list(tree(tmp_path / "b").values())
    assert large.unowned(tmp_path / "a" / "m.onnx") == 0
    held = onnx.load(tmp_path / "a" / "m.onnx", load_external_data=False).graph.initializer
    assert all(int(entries(t)["offset"]) % 4096 == 0 for t in held if is_external(t))
    again, x = Model.load(tmp_path / "a" / "m.onnx"), {"x": np.ones((2, 64), np.float32)}
    assert again.fingerprint() == model.fingerprint()
    (y,), (z,) = (runtime.Session(m.lean())(x) for m in (again, model))
    assert np.abs(y - z).max() <= 1e-6 * np.abs(z).max()
    with (tmp_path / "a" / "m.onnx.data").open("ab") as stream:
        stream.write(b"orphan")
    assert large.unowned(tmp_path / "a" / "m.onnx") == 6


@pytest.mark.usefixtures("small_limits")
def test_data_that_nobody_reads_any_more_goes_and_other_data_stays(tmp_path: Path) -> None:
    net(WIDE).save(tmp_path / "model.onnx")
    compress(net(NET), [Scale()], output=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "prune.json", "report.json"]
    net(WIDE).save(tmp_path / "model.onnx")
    net(NET).save(tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx.data").exists()
    (tmp_path / "model.onnx.data").write_text("mine")
    compress(net(NET), [Scale()], output=tmp_path)
    net(NET).save(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").read_text() == "mine"


@pytest.mark.usefixtures("small_limits")
def test_a_failure_puts_back_data_that_was_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net(WIDE).save(tmp_path / "model.onnx")
    before = tree(tmp_path)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.parent == tmp_path and path.suffix == ".data":
            raise OSError(28, "No space left on device")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UsageError, match="No space left"):
        compress(net(NET), [Scale()], output=tmp_path)
    assert tree(tmp_path) == before


def test_external_data_is_never_overwritten(tmp_path: Path) -> None:
    source = onnx.load(write_net(tmp_path))
    onnx.save_model(
        source, tmp_path / "net.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    before = tree(tmp_path)
    for call in (
        lambda: compress(tmp_path / "net.onnx", [Scale()], output=tmp_path),
        lambda: compress(tmp_path / "net.onnx", [Scale()]).save(tmp_path),
    ):
        with pytest.raises(UsageError, match=r"model.onnx.data' is read and would be overwritten"):
            call()
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("small_limits")
def test_a_disk_that_fills_up_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net(WIDE).save(tmp_path / "m.onnx")
    before = tree(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        net(WIDE.replace("64", "72")).save(tmp_path / "m.onnx")
    assert tree(tmp_path) == before


# -- what is not done with a large model -------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_limits")
def test_a_large_model_is_not_run_on_made_up_inputs_nor_made_into_one_protobuf(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    result = compress(net(WIDE), [Scale()])
    assert result.report.latency is None
    assert "is not run on made-up inputs" in caplog.text
    with pytest.raises(ModelError, match="do not fit into one protobuf"):
        net(WIDE).proto()


# -- weights that were edited ------------------------------------------------------------------------------------------


def place_of(model: Model, name: str) -> Path | None:
    """The file that a constant stands in."""
    tensor = next(t for t in model.lean().graph.initializer if t.name == name)
    return Path(entries(tensor)["location"]) if is_external(tensor) else None


def test_an_edited_large_weight_lives_in_a_file_as_long_as_somebody_holds_it() -> None:
    model, value = net(WIDE), np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
    model.put("u", value)
    path = place_of(model, "u")
    twin, view = model.copy(), model.tensor("u")
    assert isinstance(view.value(), np.memmap)
    assert np.array_equal(view.value(), value)
    model.put("u", np.zeros((600, 600), np.float32))
    assert place_of(twin, "u") == path != place_of(model, "u")
    del twin
    gc.collect()
    assert path.exists()  # the view holds it
    held = view.value()
    del view
    gc.collect()
    assert not path.exists()
    assert np.array_equal(held, value)


def test_a_large_constant_that_is_folded_lives_in_a_file() -> None:
    model = net("""(float[N,64] x) => (float[N,9000] y) <float[9000,64] w>
        { t = Transpose(w)  y = MatMul(x, t) }""")
    found = constant_values(model)["t"]
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, model.tensor("w").value().T)
    assert compress(model, "fold").model.files == frozenset()


@pytest.mark.parametrize(
    "text", [WIDE, "(float[1,3,8,8] x) => (float[1,9,8,8] y) <float[9,3,1,1] w> { y = Conv(x, w) }"]
)
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_work_in_blocks_is_that_on_the_whole(text: str, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(text)
    whole = Magnitude(norm).compute(model)
    monkeypatch.setattr(weights, "CHUNK", 100)
    for axis, shares in Magnitude(norm).compute(model).items():
        assert np.allclose(shares, whole[axis], rtol=1e-12, atol=0)


def test_affine_operators_fold_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net("""(float[N,64] x) => (float[N,600] y) <float[64,600] w, float[600] s>
        { a = MatMul(x, w)  y = Mul(a, s) }""")
    expected = model.tensor("w").value().astype(np.float64) * model.tensor("s").value()
    monkeypatch.setattr(weights, "CHUNK", 10_000)
    folded = compress(model, "fold").model.tensor("w").value()
    assert np.array_equal(folded, expected.astype(np.float32))


def test_where_no_file_can_be_written_a_weight_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_written", full)
    model = net(WIDE)
    model.put("u", np.ones((600, 600), np.float32))
    assert (place_of(model, "u"), model.tensor("u").value().sum()) == (None, 360_000)


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = "import numpy as np, sys, os; from onnxprune.spool import stored; w = stored('w', np.ones(2**20));"
    env = {**os.environ, "TMPDIR": str(tmp_path)}

    command = [sys.executable, "-c"]
    with subprocess.Popen([*command, code + WAIT], env=env, stdout=subprocess.PIPE, text=True) as alive:
        assert alive.stdout is not None
        assert alive.stdout.readline() == "ready\n"
        assert subprocess.run([*command, code + "os.kill(os.getpid(), 9)"], env=env).returncode == -signal.SIGKILL
        assert len(os.listdir(tmp_path)) == 2
        assert subprocess.run([*command, code], env=env).returncode == 0
        left = os.listdir(tmp_path)
        alive.kill()
    assert len(left) == 1  # that of the living


def test_a_folder_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").write_text("")
    code = "import numpy as np; from onnxprune.spool import stored; stored('w', np.ones(2**20))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True)
    assert set(os.listdir(tmp_path)) == {"elsewhere", f"{PREFIX}file", f"{PREFIX}link"}


# -- external data -----------------------------------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """``WIDE`` with its weights in a file beside it."""
    onnx.save_model(
        net_proto(WIDE), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return tmp_path / "m.onnx"


def refusal(path: Path, dims: tuple[int, ...] | None = None, **said: str) -> str:
    """What is said of the model when its first weight says other things."""
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    if dims is not None:
        tensor.dims[:] = dims
    said = {e.key: e.value for e in tensor.external_data} | said
    del tensor.external_data[:]
    for key, value in said.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"external data of 'w' .*(; |: copy it)") as caught:
        Model.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"offset": "-1"}, "shorter than declared"),
        ({"offset": str(2**70)}, "shorter than declared"),
        ({"offset": "1e3"}, "no sound type, offset or length"),
        ({"length": "x"}, "no sound type, offset or length"),
        ({"length": "-4"}, "is -4 bytes long"),
        ({"length": "8"}, "is 8 bytes long, its shape [64, 600] wants 153600"),
        ({"length": str(2**70)}, "bytes long"),
        ({"location": ""}, "is missing"),
        ({"location": "a\0b"}, "is no path"),
        ({"location": "x" * 5000}, "cannot be read"),
        ({"location": "loop"}, "is no path"),
        ({"location": "pipe"}, "is missing"),
        ({"location": "."}, "is missing"),
        ({"location": ".."}, "lies outside"),
        ({"location": "/etc/passwd"}, "lies outside"),
    ],
)
def test_external_data_that_is_not_to_be_trusted_is_refused(said: dict[str, str], message: str, external: Path) -> None:
    (external.parent / "loop").symlink_to("loop")
    os.mkfifo(external.parent / "pipe")
    assert message in refusal(external, **said)


def test_an_absolute_path_is_refused_even_within_the_folder(external: Path) -> None:
    assert "is an absolute path: refused" in refusal(external, location=str(external.parent / "w.bin"))


@pytest.mark.parametrize("dims", [(10**6, 10**6), (2**62, 2**62), (-1, 600), (-64, -600), (2**40, 600)])
def test_external_data_of_an_absurd_size_is_refused(dims: tuple[int, ...], external: Path) -> None:
    message = refusal(external, dims, length=str(4 * int(np.prod([int(d) for d in dims], dtype=object))))
    assert any(word in message for word in ("shorter than declared", "has a negative size"))


def test_overlapping_data_is_fine(external: Path) -> None:
    model = onnx.load(external, load_external_data=False)
    del model.graph.initializer[2].external_data[:]
    model.graph.initializer[2].external_data.extend(model.graph.initializer[0].external_data)
    external.write_bytes(model.SerializeToString())
    w, v = (Model.load(external).tensor(name).value() for name in "wv")
    assert np.array_equal(w.ravel(), v.ravel())


@pytest.mark.parametrize("change", ["longer", "replaced", "gone"])
def test_data_that_changes_while_it_is_in_use_is_noticed(change: str, external: Path) -> None:
    model, data = Model.load(external), external.with_name("w.bin")
    if change == "longer":
        data.write_bytes(data.read_bytes() + b"1")
    if change == "replaced":
        data.rename(data.with_name("old"))
        data.write_bytes(data.with_name("old").read_bytes())
    if change == "gone":
        data.unlink()
    for read in (model.tensor("w").value, model.fingerprint, lambda: run(model, {"x": np.ones((1, 64), np.float32)})):
        with pytest.raises(ModelError, match=r"was changed while it was in use|cannot be read"):
            read()


def test_a_protobuf_of_unknown_origin_reads_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64 * 600 * 4))
    model = net_proto(WIDE)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(tmp_path / "secret"))
    for forged in (False, True):
        if forged:
            tensor.external_data.add(key="identity", value="1:2:3:4")
            tensor.external_data.add(key="offset", value="0")
        with pytest.raises(ModelError, match=r"load the model by its path|was changed"):
            Model.load(model)


def test_small_constants_beside_the_model_count_for_shapes(tmp_path: Path) -> None:
    text = """(float[N,6] x) => (float[N,3,2] y) <int64[3] s = {-1,3,2}> { y = Reshape(x, s) }"""
    onnx.save_model(net_proto(text), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    assert Model.load(tmp_path / "m.onnx").tensor("y").shape == ("N", 3, 2)


# -- absurd sizes ------------------------------------------------------------------------------------------------------


def claiming(tensor: TensorProto, **graph: object) -> onnx.ModelProto:
    """A model that reads the tensor."""
    model = net_proto("(float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    ("kind", "dims", "data"),
    [
        (TensorProto.FLOAT, [10**12], {"raw_data": b"1234"}),
        (TensorProto.FLOAT, [10**12], {"float_data": [1.0]}),
        (TensorProto.FLOAT, [10**12], {}),
        (TensorProto.FLOAT, [2**62, 2**62], {"raw_data": b"1234"}),
        (TensorProto.FLOAT, [2**32, 2**32], {}),  # 0 in 64 bits
        (TensorProto.FLOAT, [-1], {"raw_data": b"1234"}),
        (TensorProto.FLOAT, [-1, -1], {"raw_data": b"1234"}),
        (TensorProto.INT4, [10**12], {"raw_data": b"1"}),
        (TensorProto.INT4, [10**12], {"int32_data": [1]}),
        (TensorProto.UINT2, [5], {"raw_data": b"1"}),
        (TensorProto.COMPLEX64, [10**12], {"float_data": [1.0, 2.0]}),
        (TensorProto.STRING, [10**12], {"string_data": [b"a"]}),
    ],
)
def test_a_tensor_that_claims_more_than_it_holds_is_refused(
    kind: int, dims: list[int], data: dict[str, object]
) -> None:
    tensor = TensorProto(name="c", data_type=kind, dims=dims, **data)
    inside = net_proto("(float[N] x) => (float[N] y) { y = Relu(x) }")
    inside.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    for model in (claiming(tensor), inside):
        with pytest.raises(ModelError, match=r"tensor 'c' .*the file is damaged"):
            Model.load(model)


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "INT4", "UINT2", "FLOAT4E2M1", "COMPLEX64", "INT64", "BOOL"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_tensor_that_holds_what_it_claims_is_read(kind: str, count: int) -> None:
    code = getattr(TensorProto, kind)
    dtype = helper.tensor_dtype_to_np_dtype(code)
    values = (np.arange(count) % 2).astype(dtype)
    raw, typed = numpy_helper.from_array(values, "c"), helper.make_tensor("c", code, [count], values.tolist())
    for tensor in (raw, typed):
        sizes.check_sound(tensor)


def test_a_sparse_tensor_is_not_written_out_beyond_all_bounds() -> None:
    values, indices = (
        numpy_helper.from_array(np.ones(1, np.float32), "c"),
        numpy_helper.from_array(np.zeros(1, np.int64)),
    )
    model = net_proto("(float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))
    with pytest.raises(ModelError, match="sparse tensor 'c' stands for 4000000000000 bytes"):
        Model.load(model)


HUGE = {
    "ConstantOfShape": "m = Neg(n)  k = Neg(m)  c = ConstantOfShape(k)  y = ReduceMax<keepdims=0>(c)",
    "Expand": "m = Neg(n)  k = Neg(m)  c = Expand(one, k)  y = ReduceMax<keepdims=0>(c)",
    "Tile": "m = Neg(n)  k = Neg(m)  c = Tile(one, k)  y = ReduceMax<keepdims=0>(c)",
    "Range": "m = Neg(last)  k = Neg(m)  c = Range(zero, k, unit)  f = Cast<to=1>(c)  y = ReduceMax<keepdims=0>(f)",
    "OneHot": "m = Neg(n)  k = Neg(m)  c = OneHot(i, k, pair)  y = ReduceMax<keepdims=0>(c)",
    "Pad": "m = Neg(pads)  k = Neg(m)  c = Pad(one, k)  y = ReduceMax<keepdims=0>(c)",
}


def test_what_folding_would_blow_up_is_left_alone(tmp_path: Path) -> None:
    consts = """<int64[1] n = {3000000000}, float[1] one = {1}, int64 last = {3000000000}, int64 zero = {0},
        int64 unit = {1}, int64[1] i = {0}, float[2] pair = {0,1}, int64[2] pads = {0,3000000000}>"""
    for op, body in HUGE.items():
        text = f"(float x) => (float z) {consts} {{ {body}  z = Add(x, y) }}"
        (tmp_path / f"{op}.onnx").write_bytes(net_proto(text).SerializeToString())
    limited(tmp_path, "fold", [f"{op}.onnx" for op in HUGE])
    for op in HUGE:
        kept = onnx.load(tmp_path / f"{op}.onnx.out" / "model.onnx").graph
        assert op in [node.op_type for node in kept.node]
        assert json.loads((tmp_path / f"{op}.onnx.out" / "report.json").read_text())["latency"] is None


def test_activations_of_an_absurd_size_are_not_made(tmp_path: Path) -> None:
    sizes = (10**10, 2**62)
    for size in sizes:
        text = (
            f"(float[1,{size}] x, float[1,8] z, float[{size}] t) => (float[1,{size}] y, float[1,4] u, int64[{size}] s)"
        )
        text += " <float[8,8] w, float[8,4] v> { y = Relu(x)  a = MatMul(z, w)  u = MatMul(a, v)  s = Cast<to=7>(t) }"
        (tmp_path / f"{size}.onnx").write_bytes(net_proto(text).SerializeToString())
    limited(tmp_path, "fold,prune:ratio=0.5:align=1:heal=none", [f"{size}.onnx" for size in sizes])
    for size in sizes:
        spec = json.loads((tmp_path / f"{size}.onnx.out" / "prune.json").read_text())
        assert spec == {"v": {"0": spec["w"]["1"]}, "w": {"1": spec["w"]["1"]}}
        assert len(spec["w"]["1"]) == 4


def limited(folder: Path, passes: str, files: list[str]) -> None:
    """The passes on models, with 3 GB of address space: what is absurd fails there."""
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from onnxprune.cli import main
passes, *files = sys.argv[1:]
for file in files:
    if code := main([file, "--passes", passes, "-o", f"{file}.out", "--quiet"]):
        sys.exit(f"{file}: {code}")
"""
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, passes, *files]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
