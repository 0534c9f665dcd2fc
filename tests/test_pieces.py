"""A file is read field by field: the same model as read at once, and the same refusals."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import onnx
import pytest
from generator import random_model

from onnxprune.pieces import LARGE, parsed


def large(seed: int) -> onnx.ModelProto:
    """A random model with two weights that are read on their own, and a small one between them."""
    model, rng = random_model(seed), np.random.default_rng(seed)
    for name, size in (("first", LARGE), ("between", 8), ("last", 2 * LARGE)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name))
    return model


@pytest.mark.parametrize("seed", range(20))
def test_a_model_in_pieces_is_the_model(seed: int) -> None:
    data = large(seed).SerializeToString()
    found, digest = parsed(io.BytesIO(data))
    assert found == onnx.ModelProto.FromString(data)
    assert digest == hashlib.sha256(data).hexdigest()


def test_fields_in_another_order_and_a_graph_in_two_parts_are_one_model() -> None:
    whole = large(3)
    parts = onnx.ModelProto(), onnx.ModelProto()
    parts[0].graph.initializer.extend(whole.graph.initializer)
    parts[1].CopyFrom(whole)
    parts[1].graph.ClearField("initializer")
    data = parts[0].SerializeToString() + parts[1].SerializeToString()
    assert parsed(io.BytesIO(data))[0] == onnx.ModelProto.FromString(data) == whole


@pytest.mark.parametrize("seed", range(5))
def test_what_protobuf_refuses_is_refused(seed: int) -> None:
    data, rng = large(seed).SerializeToString(), np.random.default_rng(seed)
    with pytest.raises(Exception, match=r"cut short|damaged"):
        parsed(io.BytesIO(data[: len(data) // 2]))
    for place in rng.integers(len(data), size=100):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            wanted = onnx.ModelProto.FromString(bytes(damaged))
        except Exception:
            with pytest.raises(Exception, match=r"\w"):
                parsed(io.BytesIO(bytes(damaged)))
        else:
            assert parsed(io.BytesIO(bytes(damaged)))[0] == wanted
