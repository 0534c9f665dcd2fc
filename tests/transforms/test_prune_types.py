"""Weights of half precision are cut like any other, where onnxruntime can run them and where it cannot."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from oracle import assert_different_function, assert_same_function, net_proto, silenced

from onnxprune import compress
from onnxprune.axes.silencing import removed
from onnxprune.model import Model

NET = """(KIND[1,3,6,6] x) => (KIND[1,4] y) <KIND[8,3,3,3] a, KIND[8] b, KIND[6,8,3,3] c, KIND[24,4] d>
    { p = Conv(x, a, b)  q = Relu(p)  r = Conv(q, c)  s = Flatten(r)  y = Gemm(s, d) }"""


def of_kind(kind: str, dtype: type) -> onnx.ModelProto:
    """The net with all its tensors of one type."""
    model = net_proto(NET.replace("KIND", "float"))
    model.opset_import[0].version = 22  # the first with a Conv of bfloat16
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = getattr(onnx.TensorProto, kind)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    return model


def single(model: Model) -> Model:
    """The same network in single precision."""
    proto = model.proto()
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return Model(proto)


@pytest.mark.parametrize(("kind", "dtype"), [("FLOAT16", np.float16), ("BFLOAT16", ml_dtypes.bfloat16)])
def test_half_precision_is_pruned_exactly(kind: str, dtype: type) -> None:
    before = Model(of_kind(kind, dtype))
    after = compress(before, passes="fold,prune:ratio=50%:align=1:heal=none").model
    assert after.tensor("a").shape == (4, 3, 3, 3)
    assert after.tensor("a").dtype == dtype
    assert_same_function(single(after), single(silenced(before, removed(after))))
    assert_different_function(single(after), single(before))
