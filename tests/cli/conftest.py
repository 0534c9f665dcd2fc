"""A folder with a network and data, passes to run on it, and the command line in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from toys import TOYS, Outcome, Run, labelled, samples, write_net

from onnxprune import registry
from onnxprune.cli import main
from onnxprune.model import Model


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: ``net.onnx``, ``calib.npz`` and ``test.npz``, and the passes of ``toys``."""
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: TOYS[name] if name in TOYS else load(name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    model = Model.load(write_net(folder))
    np.savez(folder / "calib.npz", **samples())
    np.savez(folder / "test.npz", **labelled(model))
    return folder


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command with words; a traceback is a failure whatever the outcome."""

    def call(*words: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as leaving:  # --help
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert sys.exc_info() == (None, None, None)
        return Outcome(code, *captured)

    return call
