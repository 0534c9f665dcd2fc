"""Equal inputs give equal bytes, whatever the hash seed, the jobs, the threads, the cache and the folders are.

Only what a clock has measured may differ: the keys in ``TIMED``, and with them which points are unbeaten in latency.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODELS = Path(__file__).parents[1] / "models"
TIMED = {"seconds", "runs", "threads", "before_ms", "after_ms", "before_iqr_ms", "after_iqr_ms", "latency_ms"}
BUILT = ("model.onnx", "prune.json", "report.json", "host/model.so", "host/outputs.npy")
WRITTEN = (*BUILT, "sweep.json", "still/sweep.json", "still/sweep.svg")

DRIVER = """
import sys
import onnxprune.deploy, onnxprune.latency, onnxprune.measure
from onnxprune.cli import main
onnxprune.deploy.SECONDS = onnxprune.latency.SECONDS = 0.01
out, left, some, threads, jobs = sys.argv[1:]
words = ["net.onnx", "--calib=calib.npz", "--test=test.npz", "--threads", threads, "--jobs", jobs, "-q"]
swept = [*words, "--passes=fold,prune", "--sweep", f"macs={some}"]
assert main([*words, "--passes", f"fold,prune:macs={left}", "--target=host", "-o", out]) == 0
assert main([*swept, "-o", out]) == 0
def still(before, results, *_):
    return [onnxprune.latency.Latency(1, 10, 2.0, 1.0 + k / 8, 0.1, 0.1) for k in range(len(results))]
onnxprune.measure.latencies = still
assert main([*swept, "-o", out + "/still"]) == 0
"""


@dataclass(frozen=True)
class Circumstances:
    """All that must make no difference; ``left`` and ``swept`` are what may."""

    folder: str
    out: str = "out"
    cache: str = "cache"
    hash_seed: str = "0"
    threads: str = "1"
    jobs: str = "1"
    left: str = "60%"
    swept: str = "50%,80%"


VARIANTS = {
    "everything else": Circumstances("b", "else/where", "cold", hash_seed="1", threads="2", jobs="2"),
    "warm": Circumstances("a", "again", hash_seed="random"),
}


def run(root: Path, here: Circumstances) -> Path:
    """The folder with what a process of its own has written."""
    work, tmp = root / here.folder, root / here.folder / "tmp"
    tmp.mkdir(parents=True, exist_ok=True)
    shutil.copy(MODELS / "digits_mobile.onnx", work / "net.onnx")
    for name in ("calib", "test"):
        np.savez(work / f"{name}.npz", **{key: a[:50] for key, a in np.load(MODELS / f"digits.{name}.npz").items()})
    settings = {
        "XDG_CACHE_HOME": str(root / here.cache),
        "MPLCONFIGDIR": str(root / "fonts"),  # which take seconds to find
        "PYTHONHASHSEED": here.hash_seed,
        "TMPDIR": str(tmp),
    }
    words = [sys.executable, "-c", DRIVER, here.out, here.left, here.swept, here.threads, here.jobs]
    subprocess.run(words, cwd=work, env={**os.environ, **settings}, check=True)
    return work / here.out


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def reference(root: Path) -> Path:
    return run(root, Circumstances("a"))


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest, root: Path, reference: Path) -> Path:
    return run(root, VARIANTS[request.param])


@pytest.fixture(scope="module")
def control(root: Path, reference: Path) -> Path:
    return run(root, Circumstances("a", "control", left="70%", swept="55%,80%"))


def untimed(value: Any) -> Any:
    """A report or a sweep without what a clock has measured."""
    match value:
        case dict():
            return {key: untimed(one) for key, one in value.items() if not is_timed(key, one)}
        case list():
            return [untimed(one) for one in value]
    return value


def is_timed(key: str, value: Any) -> bool:
    return key in TIMED or (key == "latency" and isinstance(value, bool))  # unbeaten or not


def digest(folder: Path, name: str) -> str:
    """What has to be equal of a file: all of it, but for times and the folder that was asked for."""
    data = (folder / name).read_bytes()
    if name.endswith(".json") and name != "prune.json":
        out = str(folder.relative_to(next(path for path in folder.parents if (path / "net.onnx").exists())))
        data = data.replace(f'"{out}/'.encode(), b'"OUT/')
        data = data if name.startswith("still") else json.dumps(untimed(json.loads(data))).encode()
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", WRITTEN)
def test_circumstances_make_no_difference(name: str, reference: Path, variant: Path) -> None:
    assert digest(variant, name) == digest(reference, name)


@pytest.mark.parametrize("name", WRITTEN)
def test_another_task_does(name: str, reference: Path, control: Path) -> None:
    """The control."""
    assert digest(control, name) != digest(reference, name)


def test_times_are_all_that_is_left_out(reference: Path) -> None:
    """The control of the mask: every key in it is there, and no other is lost."""
    whole = [json.loads((reference / name).read_text()) for name in ("report.json", "sweep.json")]
    lost = {path for data in whole for path in keys(data) - keys(untimed(data))}
    assert {path.rpartition(".")[2] for path in lost} == TIMED | {"latency"}
    assert [path for path in lost if path.endswith(".latency")] == [".points.on_front.latency"]


def keys(value: Any, path: str = "") -> set[str]:
    """The paths of all keys."""
    match value:
        case dict():
            return {f"{path}.{k}" for k in value}.union(*(keys(v, f"{path}.{k}") for k, v in value.items()))
        case list():
            return set().union(*(keys(one, path) for one in value))
    return set()
