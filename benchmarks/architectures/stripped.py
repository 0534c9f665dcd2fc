"""Graphs without their weights, small enough to be kept, and with weights again: the corpus in ``tests/architectures``.

A large tensor of fractions keeps its name and shape; in place of its values stand their mean, deviation and bounds, and
it is filled with normal numbers of that kind, from its name as the seed. So activations are as large as they were,
variances stay positive, and what was shared stays shared. Sizes, indices, masks and small constants stay as they are.
``python -m benchmarks.architectures.stripped GRAPHS FOLDER`` makes the corpus anew.
"""

from __future__ import annotations

import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.architectures.counted import parameters
from benchmarks.architectures.listed import graphs
from onnxprune.node import Array

__all__ = ["fill", "loaded", "main", "strip"]

FEW = 16  # distinct values, which compress well
MARK = "normal numbers: mean, deviation, least, most ="


def loaded(path: Path) -> onnx.ModelProto:
    """A graph of the corpus, its weights filled in: equal files give equal weights."""
    proto = onnx.load_model_from_string(lzma.decompress(path.read_bytes()))
    fill(proto)
    return proto


def strip(proto: onnx.ModelProto) -> None:
    """Take the weights out of a graph, and what the exporter says of its own sources."""
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for tensor in _tensors(proto.graph):
        tensor.ClearField("metadata_props")
        if tensor.data_type == onnx.TensorProto.FLOAT and (said := _said(numpy_helper.to_array(tensor))):
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.doc_string = said


def fill(proto: onnx.ModelProto) -> None:
    """Give a stripped graph weights."""
    for tensor in _tensors(proto.graph):
        if tensor.doc_string.startswith(MARK):
            rng = np.random.default_rng(zlib.crc32(tensor.name.encode()))
            mean, deviation, least, most = map(float, tensor.doc_string.removeprefix(MARK).split())
            value = rng.standard_normal(tuple(tensor.dims), np.float32) * np.float32(deviation) + np.float32(mean)
            tensor.raw_data = np.clip(value, least, most, dtype=np.float32).tobytes()
            tensor.ClearField("doc_string")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All constants, those in nodes and subgraphs too; what has no name gets one to draw its values from."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.name = attribute.t.name or f"{node.output[0]}.{attribute.name}"
                yield attribute.t
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _said(value: Array) -> str:
    """What the values are like; nothing where they are few or not finite, and stay."""
    if len(np.unique(value)) <= FEW or not np.isfinite(value).all():
        return ""
    figures = value.mean(dtype=np.float64), value.std(dtype=np.float64), value.min(), value.max()
    return " ".join([MARK, *(f"{float(each):.4g}" for each in figures)])


def main(folder: Path, corpus: Path) -> None:
    """Strip all graphs of the list that were exported; ``index.json`` tells their parameters."""
    corpus.mkdir(parents=True, exist_ok=True)
    index = {}
    for graph in [each for each in graphs() if (folder / f"{each}.onnx").exists()]:
        proto = onnx.load(folder / f"{graph}.onnx")
        index[str(graph)] = parameters(proto)
        strip(proto)
        packed = lzma.compress(proto.SerializeToString(deterministic=True), preset=9 | lzma.PRESET_EXTREME)
        (corpus / f"{graph}.onnx.xz").write_bytes(packed)
    (corpus / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
