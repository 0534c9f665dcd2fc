"""``Model``: the one mutable graph. Its wiring, its constants and all else of the file are kept apart."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import onnx

from onnxprune.counted import shape_of
from onnxprune.errors import ModelError
from onnxprune.external import is_external
from onnxprune.lift import lifted
from onnxprune.node import Array, Axis, Node, Tensor
from onnxprune.normal import normalise
from onnxprune.proto import infer, outline, read, write
from onnxprune.provenance import Provenance
from onnxprune.shapes import fill_gaps
from onnxprune.sizes import TWO_GB, weigh
from onnxprune.spool import Weight, stored
from onnxprune.subgraphs import all_nodes, data_files
from onnxprune.views import consumers, dtype_of, producers, viewed
from onnxprune.weights import inlined, raw
from onnxprune.wiring import Wiring

if TYPE_CHECKING:
    from onnxprune.axes.reasons import Reason
    from onnxprune.passes import Analysis, Context

__all__ = ["Model"]

T = TypeVar("T")


class Model:
    """An ONNX graph to read and edit. Reads are by name; edits keep the graph a graph, ``proto()`` checks the rest."""

    file_sha256: str = ""  # of the file it was read from, if from one

    def __init__(self, proto: onnx.ModelProto) -> None:
        own = onnx.ModelProto()
        own.CopyFrom(proto)
        self._take(own)

    def _take(self, proto: onnx.ModelProto) -> None:
        """Begin with a model that is nobody else's."""
        self.files = data_files(proto)
        proto = normalise(proto)
        graph = proto.graph
        _acquaint(graph)
        self._types: dict[str, onnx.ValueInfoProto] | None = fill_gaps(proto, infer(proto), lambda: proto)
        self._constants = {t.name: Weight(t) for t in graph.initializer}
        self._wiring = Wiring(proto)
        self._born = self._constants.keys() | self._wiring.tensors()
        self._views: dict[str, Node] | None = None
        self._memo: dict[object, Any] = {}
        self.provenance = Provenance({t.name: tuple(t.dims) for t in graph.initializer})
        self._envelope = _envelope(proto)
        self.skipped: dict[tuple[str, str], Reason | None] = {}

    # -- borders ---------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, source: str | Path | onnx.ModelProto | Model) -> Model:
        """A model from a file, a ModelProto, or (a copy of) another model; raises ModelError when it is not sound."""
        if isinstance(source, Model):
            return source.copy()
        if isinstance(source, onnx.ModelProto):
            return cls(source)
        proto, digest = read(Path(source))
        model = cls.__new__(cls)
        model._take(proto)
        model.file_sha256 = digest
        return model

    def proto(self) -> onnx.ModelProto:
        """The graph as protobuf with freshly inferred shapes, fully checked.

        Raises ModelError if it is invalid, or too large for protobuf.
        """
        result = self.lean()
        if (size := weigh(result.graph.initializer)) >= TWO_GB:
            raise ModelError(
                f"the model's {size / 2**30:.1f} GiB of weights do not fit into one protobuf, which holds 2: save the"
                " model with its weights beside it; no target can be built from it"
            )
        for tensor in filter(is_external, result.graph.initializer):
            tensor.CopyFrom(inlined(tensor))
        return result

    def lean(self) -> onnx.ModelProto:
        """As ``proto``, of any size: large weights stay in their files, to be read while this model lives."""
        return self._typed("whole")

    def outline(self) -> onnx.ModelProto:
        """As ``proto``, of any size: large weights are without their data, for whom shapes are enough."""
        return self._typed("outlines")

    def _typed(self, constants: Literal["whole", "outlines"]) -> onnx.ModelProto:
        result = self._export(constants)
        interior = {name for node in self.nodes for t in node.outputs if t is not None for name in (t.name,)}
        interior -= {o.name for o in result.graph.output}
        result.graph.value_info.extend(v for name, v in sorted(self._inferred().items()) if name in interior)
        return result

    def save(self, path: str | Path) -> None:
        """Write the model atomically, equal models as equal bytes."""
        write(self.lean(), Path(path))

    def copy(self) -> Model:
        """An independent model; constants are shared until either side replaces them."""
        twin = Model.__new__(Model)
        twin.__setstate__(self.__getstate__())
        twin._memo = self._memo  # equal graphs share their answers, until one of them is edited
        return twin

    def become(self, other: Model) -> None:
        """Take over all that another model is, such as a copy of this one that was edited or kept."""
        state = other.copy().__dict__
        self.__dict__.clear()
        self.__dict__.update(state)

    def __getstate__(self) -> dict[str, Any]:
        """The model without its wiring and views, which no process could read: for ``copy`` and for pickle."""
        state = {key: value for key, value in self.__dict__.items() if key not in ("_wiring", "_views")}
        answers = {key: value for key, value in self._memo.items() if key not in ("producers", "consumers")}
        return {
            **state,
            "exported": self._export(constants="none"),
            "_born": self._born | self._wiring.tensors(),  # which are not all wired any more
            "_constants": dict(self._constants),
            "_memo": answers,
            "provenance": self.provenance.copy(),
            "skipped": dict(self.skipped),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Wire the graph anew."""
        self._wiring = Wiring(state.pop("exported"))
        self.__dict__.update(state)
        self._views = None

    def fingerprint(self) -> str:
        """A SHA-256 of the graph and its weights: equal for equal models, whatever file they came from."""
        return cast(str, self._remember("fingerprint", self._hash))

    def _hash(self) -> str:
        digest = hashlib.sha256(self._export(constants="none").SerializeToString(deterministic=True))
        for name, weight in sorted(self._constants.items()):
            digest.update(f"{name}:{weight.proto.data_type}:{tuple(weight.proto.dims)}".encode())
            for part in raw(weight.proto):
                digest.update(part)
        return digest.hexdigest()

    def _export(self, constants: Literal["whole", "outlines", "none"] = "whole") -> onnx.ModelProto:
        """The graph as protobuf, large constants perhaps without their data."""
        result = onnx.ModelProto()
        result.CopyFrom(self._envelope)
        for wired in self._wiring:
            node = result.graph.node.add()
            node.CopyFrom(wired.proto)
            node.input[:], node.output[:] = wired.inputs, wired.outputs
        if constants != "none":
            held = (w.proto for w in self._constants.values())
            result.graph.initializer.extend(held if constants == "whole" else map(outline, held))
        return result

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def opset(self) -> int:
        """The version of the standard operator set."""
        return int(next(o.version for o in self._envelope.opset_import if o.domain == ""))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, every one after those it reads from."""
        return tuple(self._nodes().values())

    def node(self, name: str) -> Node:
        """The node of that name; KeyError when there is none."""
        return self._nodes()[name]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The graph inputs, in order."""
        return tuple(self.tensor(i.name) for i in self._envelope.graph.input)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The graph outputs, in order."""
        return tuple(self.tensor(o.name) for o in self._envelope.graph.output)

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Every constant (initializer) of the graph."""
        return tuple(self.tensor(name) for name in self._constants)

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name, with the shape inferred for it."""
        if (held := self._constants.get(name)) is not None:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(held.proto.data_type)
            return Tensor(name, tuple(held.proto.dims), dtype, held.value)
        info = self._inferred().get(name)
        return Tensor(name, shape_of(info), dtype_of(info)) if info is not None else Tensor(name, None, None)

    def producer(self, name: str) -> Node | None:
        """The node that computes a tensor; None for graph inputs and constants."""
        return cast(dict[str, Node], self._remember("producers", lambda: producers(self.nodes))).get(name)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a tensor, those whose subgraphs capture it included, each once."""
        return cast(dict[str, tuple[Node, ...]], self._remember("consumers", lambda: consumers(self.nodes))).get(
            name, ()
        )

    def captured(self, name: str) -> bool:
        """Whether some subgraph reads the tensor by this very name."""
        return self._wiring.captured(name)

    def is_output(self, name: str) -> bool:
        """Whether the tensor is a graph output."""
        return any(o.name == name for o in self._envelope.graph.output)

    def get(self, question: Analysis[T], ctx: Context) -> T:
        """The answer of an analysis on the model as it is now; computed once, forgotten on the next edit."""
        return cast(T, self._remember((question, question.reads(ctx)), lambda: question.answer(self, ctx)))

    def memo(self) -> dict[object, Any]:
        """What is remembered of the present graph, for the pass manager to carry over what a pass preserves."""
        return self._memo

    def forget(self, kept: Mapping[object, Any] = MappingProxyType({})) -> None:
        """Remember nothing of the present graph but what is ``kept``."""
        self._memo = dict(kept)

    # -- editing ---------------------------------------------------------------------------------------------------

    def put(self, name: str, value: Array) -> None:
        """Give a constant a new value (or make one of that name): every node that reads it sees the new one."""
        self._constants[name] = stored(name, value)
        self._touch()

    def freeze(self, name: str, value: Array) -> None:
        """Turn a computed tensor into a constant under its own name; its producer goes when nothing else needs it."""
        self._wiring.release(name, self.fresh_name(f"{name}_unread"), {o.name for o in self._envelope.graph.output})
        self.provenance.adopt(name, value.shape)
        self.put(name, value)

    def duplicate(self, name: str, twin: str) -> None:
        """Make a constant ``twin`` that is the same as another, down to where it came from."""
        held, proto = self._constants[name], onnx.TensorProto()
        proto.CopyFrom(held.proto)
        proto.name = twin
        self._constants[twin] = Weight(proto, held.file)
        self.provenance.duplicate(name, twin, tuple(proto.dims))
        self._touch()

    def discard(self, name: str) -> None:
        """Remove a constant that nobody reads."""
        self.provenance.forget(name, len(self._constants.pop(name).proto.dims))
        self._touch()

    def set_attribute(self, node: Node, name: str, value: Any) -> None:
        """Set an attribute of a node; None removes it."""
        self._wiring.set_attribute(node.name, name, value)
        self._touch()

    def set_input(self, node: Node, index: int, name: str) -> None:
        """Let a node read another tensor at input ``index``, ``""`` for none; inputs in between become omitted ones."""
        self._wiring.set_input(node.name, index, name)
        self._touch()

    def set_output(self, node: Node, index: int, name: str) -> None:
        """Let a node write the tensor ``name`` at output ``index``; what wrote it before must be dropped first."""
        self._wiring.set_output(node.name, index, name)
        self._touch()

    def rewire(self, old: str, new: str) -> None:
        """Let every reader of ``old`` read ``new``; raises ModelError where the name itself is needed."""
        if self.captured(old) or self.is_output(old):
            raise ModelError(f"tensor '{old}' is a graph output or captured by a subgraph: its name must stay")
        self._wiring.rewire(old, new)
        self._touch()

    def insert(self, op: str, inputs: Iterable[str], outputs: Iterable[str], *, name: str, **attrs: Any) -> None:
        """Add a standard operator."""
        node = onnx.helper.make_node(op, [], [], name=self.fresh_name(name), **attrs)
        self._wiring.add(node, inputs, outputs)
        self._touch()

    def drop(self, node: Node) -> None:
        """Remove a node. Its outputs are left without a producer: rewire or replace them."""
        self._wiring.remove(node.name)
        self._touch()

    def sweep(self) -> int:
        """Remove nodes whose results nobody reads, and unread constants; how many of both went."""
        alive = {o.name for o in self.outputs}
        dead = []
        for node in reversed(self.nodes):
            if any(t is not None and t.name in alive for t in node.outputs):
                alive.update(t.name for t in (*node.inputs, *node.captures) if t is not None)
            else:
                dead.append(node)
        unread = [name for name in self._constants if name not in alive]
        for node in dead:
            self.drop(node)
        for name in unread:
            del self._constants[name]
        if unread:
            self._touch()
        return len(dead) + len(unread)

    def fresh_name(self, stem: str) -> str:
        """A name that no node and no tensor has, nor any tensor of the input file: ``stem`` itself when it is free."""
        names = itertools.chain([stem], (f"{stem}_{k}" for k in itertools.count(1)))
        return next(n for n in names if not (n in self._born or n in self._constants or self._wiring.taken(n)))

    def skip(self, where: str, why: str, reason: Reason | None = None) -> None:
        """Record that a place was left as it is, and why, in words and perhaps as data; it lands in the report."""
        self.skipped[where, why] = reason

    def lift(self, opset: int) -> None:
        """Express the graph in ``opset``, unless its own is newer; raises ModelError naming a node that cannot be."""
        if self.opset >= opset:
            return
        proto = normalise(lifted(self._export(), opset))
        held = {
            t.name: Weight(t, self._constants[t.name].file if t.name in self._constants else None)
            for t in proto.graph.initializer
        }
        for name in held.keys() - self._constants.keys():
            for dim in range(len(held[name].proto.dims)):
                self.provenance.record(Axis(name, dim), ())
        self._constants, self._wiring = held, Wiring(proto)
        self._born |= held.keys() | self._wiring.tensors()
        self._envelope = _envelope(proto)
        self._touch()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _touch(self) -> None:
        self._types, self._views = None, None
        self.forget()

    def _remember(self, key: object, compute: Any) -> Any:
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]

    def _inferred(self) -> dict[str, onnx.ValueInfoProto]:
        if self._types is None:
            exported = self._export(constants="outlines")
            self._types = fill_gaps(exported, infer(exported), self._export)
        return self._types

    def _nodes(self) -> dict[str, Node]:
        if self._views is None:
            self._views = viewed(self._wiring, self.opset, self.tensor)
        return self._views


def _acquaint(graph: onnx.GraphProto) -> None:
    """Import the rules of plug-ins where there are operators of other domains: schemas may come along with them."""
    if any(node.domain for node in all_nodes(graph)):
        from onnxprune.axes import rules  # they know models

        rules.load()


def _envelope(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its nodes, initializers and interior shapes, which are taken away: all that is kept as it came.

    Not a copy: what is cleared in a message keeps its memory, and those that hold its parts share it.
    """
    for field in ("node", "initializer", "value_info"):
        proto.graph.ClearField(field)
    return proto
