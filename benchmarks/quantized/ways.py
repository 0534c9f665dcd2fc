"""Ways to quantize a network, each as its users would: from a file and samples to a file.

They run in a process of their own (``worker``), some of them in an environment without onnxprune: nothing is imported
before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

__all__ = ["WAYS", "Ready"]

MANY = 10**6
BATCH = 32  # samples run at once where the graph leaves that open
Feed: TypeAlias = dict[str, np.ndarray[Any, Any]]
Quantize: TypeAlias = Callable[[Path, Path, Path], object]  # model, samples, where to
Ready: TypeAlias = Callable[[str], Quantize]  # imports all that is needed; "channel" or "tensor" for the weights


def _onnxprune(options: str, weights: str) -> Quantize:
    from onnxprune.cache import Cache
    from onnxprune.compression import prepare
    from onnxprune.job import Job
    from onnxprune.manager import PassManager

    def quantize(model: Path, samples: Path, target: Path) -> None:
        job = Job.of(f"fold,quantize:weights={weights}{options}", None, {"calib": samples, "cache": Cache(None)})
        manager = PassManager(job.recipe.passes)
        ready = prepare(model, job, [manager])
        result = ready.ctx.original.copy()
        manager.run(result, ready.ctx)
        result.save(target)

    return quantize


def _onnxruntime(method: str, weights: str) -> Quantize:
    """Static QDQ, u8 activations and s8 weights, which is what its manual advises for x86."""
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def quantize(model: Path, samples: Path, target: Path) -> None:
        ready = target.with_suffix(".ready.onnx")
        quant_pre_process(model, ready)
        feeds = _feeds(ready, samples)
        reader = type("Reader", (ort.CalibrationDataReader,), {"get_next": lambda _: next(feeds, None)})()
        ort.quantize_static(
            ready,
            target,
            reader,
            per_channel=weights == "channel",
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            calibrate_method=ort.CalibrationMethod[method],
        )

    return quantize


def _nncf(weights: str) -> Quantize:
    """Biases corrected, on all samples; activations with a zero point, which onnxruntime has kernels for on x86."""
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    own = QuantizationParameters(per_channel=weights == "channel")
    more = AdvancedQuantizationParameters(weights_quantization_params=own)

    def quantize(model: Path, samples: Path, target: Path) -> None:
        data = nncf.Dataset(list(_feeds(model, samples)))
        given = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": MANY, "advanced_parameters": more}
        onnx.save(nncf.quantize(onnx.load(model), data, **given), target)

    return quantize


def _onnxsim(method: str, weights: str) -> Quantize:
    """The whole graph, after what onnxsim is named for."""
    import onnx
    import onnxsim

    def quantize(model: Path, samples: Path, target: Path) -> None:
        simple = onnxsim.simplify(onnx.load(model))[0]
        own = {"method": method, "full_graph": True, "per_channel": weights == "channel"}
        onnx.save(onnxsim.quantize_static(simple, list(_feeds(model, samples)), **own), target)

    return quantize


WAYS: Mapping[str, Ready] = {
    "onnxprune": partial(_onnxprune, ""),
    "onnxprune drop=1": partial(_onnxprune, ":drop=1"),
    "onnxprune plain": partial(_onnxprune, ":repair=none:round=nearest"),
    **{f"onnxruntime {method}": partial(_onnxruntime, method) for method in ("MinMax", "Entropy", "Percentile")},
    "nncf": _nncf,
    **{f"onnxsim {method}": partial(_onnxsim, method) for method in ("minmax", "mse")},
}


def _feeds(model: Path, samples: Path) -> Iterator[Feed]:
    """The samples, an .npz with an array for each input or an .npy for the only one, in batches."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    initial = {each.name for each in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initial]
    size = inputs[0].type.tensor_type.shape.dim[0].dim_value or BATCH
    held = np.load(samples, mmap_mode="r")
    arrays = {inputs[0].name: held} if isinstance(held, np.ndarray) else {v.name: held[v.name] for v in inputs}
    count = min(map(len, arrays.values())) // size * size
    for start in range(0, count, size):
        yield {name: np.array(array[start : start + size]) for name, array in arrays.items()}
