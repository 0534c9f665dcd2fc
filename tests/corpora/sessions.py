"""Running a model on values of every type that ONNX has, and comparing what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

SEED = 0  # random operators without a seed of their own draw the same in every session


def results(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> list[Any]:
    """The outputs, the graph run exactly as written; raises whatever onnxruntime raises where it does not run it."""
    return outputs(opened(model), inputs)


def outputs(session: ort.InferenceSession, inputs: Mapping[str, Any]) -> list[Any]:
    """The same of a session that was ``opened``."""
    read = {value.name for value in session.get_inputs()}
    feeds = {name: value for name, value in inputs.items() if name in read and value is not None}
    values = [*session.get_inputs(), *session.get_outputs()]
    if all(value.type in _by_numpy() or not value.type.startswith("tensor") for value in values):
        return list(session.run(None, feeds))
    names = [value.name for value in session.get_outputs()]
    return [_array(value) for value in session.run_with_ort_values(names, {k: _value(v) for k, v in feeds.items()})]


def difference(got: Any, want: Any, tolerance: Mapping[str, float] | None = None) -> str | None:
    """What tells two outputs apart, None when nothing does.

    They are to be equal to the bit, NaN being equal to NaN; ``tolerance`` allows types, by name, a share of the largest
    number, more than which no number may be off.
    """
    if isinstance(want, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            return f"{_brief(got)} is no list of {len(want)}"
        pairs = zip(got, want, strict=True)
        return next((why for a, b in pairs if (why := difference(a, b, tolerance))), None)
    if not isinstance(want, np.ndarray):
        return None if type(got) is type(want) and got == want else f"{_brief(got)} is not {_brief(want)}"
    if not isinstance(got, np.ndarray) or (got.dtype, got.shape) != (want.dtype, want.shape):
        return f"{_brief(got)} is not {_brief(want)}"
    same = (got == want) | ((got != got) & (want != want))
    if same.all():
        return None
    worst = _off(got[~same], want[~same], want)
    return None if worst <= (tolerance or {}).get(want.dtype.name, 0) else f"{worst:.2g} of the largest off"


def _off(got: np.ndarray, want: np.ndarray, every: np.ndarray) -> float:
    """The largest difference, as a share of the largest finite number; infinite where there is none to speak of."""
    if want.dtype.kind not in "fiu" or not (np.isfinite(got).all() and np.isfinite(want).all()):
        return np.inf
    finite = np.abs(every[np.isfinite(every)].astype(np.float64)).max(initial=0)
    return float(np.abs(got.astype(np.float64) - want).max()) / (finite or 1.0)


def _brief(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)[:60]


def opened(model: onnx.ModelProto) -> ort.InferenceSession:
    """A session on one thread, without optimisations."""
    ort.set_seed(SEED)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@cache
def _by_numpy() -> frozenset[str]:
    words = "bool float16 float double string int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
    return frozenset(f"tensor({word})" for word in words)


def _value(value: np.ndarray) -> ort.OrtValue:
    if value.dtype.isbuiltin == 1:
        return ort.OrtValue.ortvalue_from_numpy(value)
    cast = _cast(TensorProto.FLOAT, helper.np_dtype_to_tensor_dtype(value.dtype))
    return cast.run_with_ort_values(["y"], {"x": ort.OrtValue.ortvalue_from_numpy(value.astype(np.float32))})[0]


def _array(value: ort.OrtValue) -> np.ndarray:
    """The numbers; of a type that numpy lacks as float32, which holds every one of them."""
    kind = value.element_type()
    if helper.tensor_dtype_to_np_dtype(kind).isbuiltin == 1:
        return value.numpy()
    return _cast(kind, TensorProto.FLOAT).run_with_ort_values(["y"], {"x": value})[0].numpy()


@cache
def _cast(source: int, target: int) -> ort.InferenceSession:
    x, y = helper.make_tensor_value_info("x", source, None), helper.make_tensor_value_info("y", target, None)
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=target)], "cast", [x], [y])
    return opened(helper.make_model(graph, ir_version=11, opset_imports=[helper.make_opsetid("", 25)]))
