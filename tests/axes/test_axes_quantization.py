"""What is known of the axes of quantised tensors: an int8 network is cut with its scales, zero points and biases."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cuts import axis, cut_at, group, removal, shifted
from onnx import numpy_helper
from oracle import assert_different_function, assert_same_function, net, net_proto, silenced

from onnxprune.model import Model

INT8 = """(float[1,3,8,8] x) => (float[1,2,8,8] y)
    <float xs = {0.05}, int8 xz = {0}, float as = {0.1}, int8 az = {3},
     int8[6,3,3,3] w, float[6] scale_w, int8[6] zero_w, int32[6] b, float[6] scale_b, int8[2,6,1,1] v, float[2] scale_v>
    { xq = QuantizeLinear(x, xs, xz)                  xd = DequantizeLinear(xq, xs, xz)
      wd = DequantizeLinear<axis=0>(w, scale_w, zero_w)  bd = DequantizeLinear<axis=0>(b, scale_b)
      a = Conv<pads=[1,1,1,1]>(xd, wd, bd)
      aq = QuantizeLinear(a, as, az)                  ad = DequantizeLinear(aq, as, az)
      r = Relu(ad)
      vd = DequantizeLinear<axis=0>(v, scale_v)
      y = Conv(r, vd) }"""


@pytest.fixture(scope="module")
def int8() -> Model:
    """Two convolutions, quantised as onnxruntime's quantiser writes them."""
    proto, rng = net_proto(INT8), np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.INT32) and tensor.dims:
            value = rng.integers(-100, 100, tensor.dims) * (tensor.name in "wbv")
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(value.astype(dtype), tensor.name))
        elif tensor.name.startswith("scale"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 100, tensor.name))
    return Model.load(proto)


def test_a_quantised_channel_goes_with_its_scale_zero_point_and_bias(int8: Model) -> None:
    ours = {f"{name}[0]": [2] for name in ("w", "b", "scale_w", "zero_w", "scale_b")}
    assert removal(int8, "w[0]", 2) == {**ours, "v[1]": [2]}


def test_a_quantised_network_is_cut_exactly(int8: Model) -> None:
    after, spec = cut_at(int8, "w[0]", 2, 4)
    assert after.tensor("w").shape == (4, 3, 3, 3)
    assert after.tensor("w").dtype == np.int8
    assert_same_function(after, silenced(int8, spec))
    assert_different_function(after, silenced(int8, shifted(int8, spec)))


def test_of_a_blocked_axis_whole_blocks_go() -> None:
    model = net(
        """(float[1,2] x) => (float[1,3] y) <float[2,6] w, int8[6,3] v, float[3,3] scale>
        { a = MatMul(x, w)  d = DequantizeLinear<axis=0, block_size=2>(v, scale)  y = MatMul(a, d) }""",
        opset=21,
    )
    assert group(model, "v[0]").atoms[axis("v[0]")].tolist() == [0, 0, 1, 1, 2, 2]
    assert removal(model, "w[1]", 3) == {"w[1]": [2, 3], "v[0]": [2, 3], "scale[0]": [1]}


def test_a_scale_of_all_values_changes_with_every_channel() -> None:
    model = net("""(float[1,2] x) => (float[1,3] y) <float[2,6] w, float[6,3] v>
        { a = MatMul(x, w)  q, s, z = DynamicQuantizeLinear(a)  d = DequantizeLinear(q, s, z)  y = MatMul(d, v) }""")
    found = group(model, "w[1]")
    assert len(found.approximate) == 6
    assert not found.pinned
