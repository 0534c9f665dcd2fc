"""ONNX to machine code through TVM: Relax import, compilation to a shared library, running and checking it.

TVM takes seconds to import, so it is imported inside functions. What it prints on its way is logged at DEBUG level.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnxprune.backends import WAY_OUT, Artifact, Lack, refusal
from onnxprune.backends.difference import difference
from onnxprune.backends.link import find_linker, link_shared
from onnxprune.backends.lowering import Lowered, Operator, lowered
from onnxprune.backends.pages import give_back
from onnxprune.backends.processors import check_processor, lacking, tvm_target
from onnxprune.backends.static import fix_shapes
from onnxprune.backends.targets import Target, load_target
from onnxprune.codegen.cpu import Cpu
from onnxprune.errors import BackendError, OnnxPruneError
from onnxprune.node import Array
from onnxprune.output import scratch, staged
from onnxprune.runtime import Session

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import VirtualMachine
    from tvm.runtime import Executable

__all__ = ["Program", "assembly", "build", "lacking", "load", "ready", "run", "runs_here", "unsupported", "verify"]

log = logging.getLogger(__name__)

OPERATOR = re.compile(r'ir\.Op\(.*?name="([\w.]+)".*?support_level=\d+\)')  # as its messages write one
CONTRIB = frozenset({"Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "SkipLayerNormalization"})

OBJECTS = ("lib0.o", "devc.o")  # that export_library makes of a Relax executable: its code, and its weights


def unsupported(proto: onnx.ModelProto) -> list[Lack]:
    """The nodes of a model with fixed shapes that cannot be compiled, in graph order, those of subgraphs too.

    They are those that TVM's frontend lacks, those known to be wrong, or else the one that it stops at.
    """
    low = _lowered(proto)
    if low.lacks:
        return list(low.lacks)
    try:
        with _quiet():
            _import(low.model, load_target("host"))  # what can be imported is the same for all
    except _StopError as stop:
        return [stop.lack]
    return []


def build(proto: onnx.ModelProto, target: Target, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Artifact:
    """Compile a model, with its inputs fixed to ``shapes``, into the library ``path``.

    The library has ``main(inputs in graph order)``; the weights are inside. ``path`` appears whole or not at all.
    """
    linker = find_linker(target)
    _export(_executable(fix_shapes(proto, shapes), target), linker, path)
    return Artifact(name=target.name, artifact=path, bytes=path.stat().st_size)


def assembly(proto: onnx.ModelProto, target: Target) -> str:
    """What a model with fixed shapes becomes for the target, as text to read."""
    libraries = _executable(proto, target).mod.imports
    return "\n".join(each.inspect_source("asm") for each in libraries if each.kind == "llvm")


def ready(target: Target) -> None:
    """Raise BackendError where nothing can be built for the target: LLVM does not know it, or there is no linker."""
    check_processor(target)
    find_linker(target)


def runs_here(target: Target) -> bool:
    """Whether this machine has every processor feature that code for the target may use."""
    return not target.foreign and not lacking(target)


class Program:
    """A compiled library, loaded: call it with inputs in graph order, as often as needed."""

    def __init__(self, path: Path) -> None:
        """Load a library that was built for this machine."""

        self.path = path
        try:
            self._machine = _machine(path)
            self._main = self._machine["main"]
        except OnnxPruneError:
            raise
        except Exception as error:
            raise BackendError(f"{path} cannot be loaded here: {_reason(error)}; build it for target 'host'") from error

    def __call__(self, feeds: Sequence[Array]) -> list[Array]:
        """The outputs, in graph order."""
        import tvm

        try:
            result = self._main(*(tvm.runtime.tensor(np.asarray(feed)) for feed in feeds))
        except Exception as error:
            given = ", ".join(f"{feed.dtype}{list(feed.shape)}" for feed in feeds)
            raise BackendError(f"{self.path} does not run on inputs {given}: {_reason(error)}") from error
        outputs = [result] if isinstance(result, tvm.runtime.Tensor) else result
        return [output.numpy() for output in outputs]

    def bound(self, feeds: Sequence[Array]) -> Callable[[], object]:
        """A run on inputs that are in place, whose outputs stay where they are: for timing."""
        import tvm

        return partial(self._main, *(tvm.runtime.tensor(np.asarray(feed)) for feed in feeds))

    def watch(self, seen: Callable[[str, bool, tuple[object, ...]], None]) -> None:
        """Tell of every call from now on: its name, whether it is about to start, and its arguments, outputs last."""

        def instrument(_: object, name: str, before: bool, __: object, *args: object) -> int:
            seen(name, before, args)
            return 0

        self._machine.set_instrument(instrument)


def load(path: Path) -> Program:
    """A library, ready to run."""
    return Program(path)


def run(path: Path, feeds: Sequence[Array]) -> list[Array]:
    """The outputs of a library for one set of inputs, both in graph order."""
    return load(path)(feeds)


def verify(path: Path, proto: onnx.ModelProto, batches: Iterable[Mapping[str, Array]]) -> float:
    """The largest absolute difference to onnxruntime's outputs; inputs must have the shapes compiled for."""
    return difference(load(path), Session(proto), batches).absolute


def _lowered(proto: onnx.ModelProto) -> Lowered:
    """The model to import: the frontend looks at an operator's name alone, whatever its domain."""
    from tvm.relax.frontend.onnx import onnx_frontend

    names = frozenset(onnx_frontend._get_convert_map())
    table: set[Operator] = {("", name) for name in names - CONTRIB} | {("com.microsoft", name) for name in CONTRIB}
    return lowered(proto, table)


class _StopError(BackendError):
    """The frontend gave up at a node."""

    def __init__(self, lack: Lack) -> None:
        super().__init__(refusal([lack]))
        self.lack = lack


def _executable(proto: onnx.ModelProto, target: Target) -> Executable:
    low = _lowered(proto)
    if low.lacks:
        raise BackendError(refusal(low.lacks))
    with _quiet():
        return _compile(_import(low.model, target), target)


def _import(proto: onnx.ModelProto, target: Target) -> IRModule:
    from onnxprune.codegen.importer import imported

    try:
        return imported(proto, Cpu.of(target))
    except Exception as error:
        log.debug("TVM cannot import the model", exc_info=error)
        node = _culprit(error)
        error.__traceback__ = None
        what = ("the model", "") if node is None else (node.op_type, node.name or node.output[0])
        raise _StopError(Lack(*what, _reason(error))) from error


def _compile(module: IRModule, target: Target) -> Executable:
    from onnxprune.codegen.pipeline import compiled

    try:
        return compiled(module, tvm_target(target), Cpu.of(target))
    except Exception as error:
        raise _failure(f"TVM cannot compile the model for target '{target.name}'", error) from error


def _export(executable: Executable, linker: Sequence[str], path: Path) -> None:
    def link(output: str, objects: Sequence[str], **_: object) -> None:
        link_shared(linker, output, objects)

    with staged(path.parent) as stage, _in_memory(stage.parent):
        executable.export_library(str(stage / path.name), fcompile=link, workspace_dir=str(stage.parent))


@contextlib.contextmanager
def _in_memory(folder: Path) -> Iterator[None]:
    """Keep the object files in memory: where LLVM cannot write one, as on a full disk, it ends the process."""
    with contextlib.ExitStack() as closing:
        for name in OBJECTS:
            stream = closing.enter_context(open(os.memfd_create(name), "wb"))
            (folder / name).symlink_to(f"/proc/{os.getpid()}/fd/{stream.fileno()}")
        yield


def _machine(path: Path) -> VirtualMachine:
    """Load a copy: the loader keeps what it has loaded, and takes a path seen before for that, even if rewritten."""
    import tvm

    with scratch() as folder:
        copy = folder / "model.so"
        machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(shutil.copy(path, copy)), tvm.cpu())
        give_back(copy)
    return machine


def _failure(what: str, error: Exception) -> BackendError:
    """The error to raise; the traceback goes to the log, as it keeps alive a half-built graph that dies noisily."""
    log.debug("%s", what, exc_info=error)
    error.__traceback__ = None
    return BackendError(f"{what}: {_reason(error)}; {WAY_OUT}")


def _culprit(error: BaseException) -> onnx.NodeProto | None:
    """The node at which the frontend stopped: its loop over the nodes is a frame of the traceback."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "_construct_nodes":
            node: onnx.NodeProto | None = trace.tb_frame.f_locals.get("node")
            return node
        trace = trace.tb_next
    return None


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return OPERATOR.sub(r"\1", lines[-1])[:300].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TVM prints, from Python or C++, off the terminal."""
    with (
        open(os.memfd_create("noise"), "w+b") as noise,
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        stderr = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            noise.seek(0)
            log.debug("%s", noise.read().decode(errors="replace"))
