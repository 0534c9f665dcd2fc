"""From a Relax module to machine code: fused, scheduled by rule, and built."""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.ir import IRModule
from tvm.runtime import Executable

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.expressions import UnreadableError
from onnxprune.codegen.fused import kernel_of
from onnxprune.codegen.microkernel import nest
from onnxprune.codegen.schedule import scheduled

__all__ = ["compiled", "lowered"]

STEPS = (
    relax.backend.DispatchSortScan(),
    relax.transform.DecomposeOpsForInference(),
    relax.transform.LegalizeOps(),
    relax.transform.AnnotateTIROpPattern(),
    relax.transform.FoldConstant(),
    relax.transform.DeadCodeElimination(),
    relax.transform.FuseOps(),
    relax.transform.FuseTIR(),
    relax.transform.DeadCodeElimination(),
    relax.transform.RewriteDataflowReshape(),  # a reshape is a view
)
BUILD = (
    relax.transform.ToNonDataflow(),
    relax.transform.RemovePurityChecking(),
    relax.transform.CallTIRRewrite(),
    relax.transform.StaticPlanBlockMemory(),
    relax.transform.LowerAllocTensor(),
    relax.transform.KillAfterLastUse(),
    relax.transform.LowerRuntimeBuiltin(),
    relax.transform.ComputePrimValue(),
    relax.transform.VMShapeLower(),
    relax.transform.AttachGlobalSymbol(),
)


def compiled(module: IRModule, target: tvm.target.Target, cpu: Cpu) -> Executable:
    """A Relax module as an executable of its virtual machine."""
    with target:
        module = lowered(module, cpu)
        return relax.build(module, target, relax_pipeline=tvm.transform.Sequential(BUILD))


def lowered(module: IRModule, cpu: Cpu) -> IRModule:
    """Every function of a module as the loops that its rule gives it."""
    for step in STEPS:
        module = step(module)
    for name, func in list(module.functions_items()):
        if isinstance(func, tirx.PrimFunc):
            module.update_func(name, loops(func, cpu))
    return module


def loops(func: tirx.PrimFunc, cpu: Cpu) -> tirx.PrimFunc:
    """One function as loops: a kernel's own nest, or a schedule for what has none."""
    if kernel_of(func):
        try:
            return nest(func, cpu)
        except UnreadableError:
            pass
    return scheduled(func, cpu)
