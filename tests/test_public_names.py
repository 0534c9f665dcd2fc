"""What the package offers: these names, and no import before one of them is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onnxprune

NAMES = """Analysis BackendError Changed Context Curves Explanation Model ModelError OnnxPruneError Pass
    PassContractError PassError PassManager Point Preprocess Recipe Report Result Sweep Unchanged
    UsageError __version__ compress explain sensitivity silenced sweep"""


def test_public_names_are_these() -> None:
    assert onnxprune.__all__ == NAMES.split()
    assert all(getattr(onnxprune, name) is not None for name in NAMES.split())
    assert set(NAMES.split()) <= set(dir(onnxprune))


def test_public_names_are_told_to_type_checkers_too() -> None:
    (block, *_) = [n for n in ast.parse(Path(onnxprune.__file__).read_text()).body if isinstance(n, ast.If)]
    imported = {alias.name for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert imported | {"__version__"} == set(NAMES.split())


def test_compress_is_the_function() -> None:
    import onnxprune.compression

    assert onnxprune.compress is onnxprune.compression.compress


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="module 'onnxprune' has no attribute 'compres'"):
        _ = onnxprune.compres


def test_names_cost_no_import_until_they_are_used() -> None:
    code = (
        "import sys, onnxprune; heavy = {'onnx', 'numpy', 'tvm', 'onnxruntime', 'rich', 'networkx'};"
        "assert not heavy & set(sys.modules); onnxprune.compress;"
        "assert not {'tvm', 'onnxruntime', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
