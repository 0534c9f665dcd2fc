"""The benchmark runner: one small network from machine to figures, and a benchmark that is one file."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from contexts import context
from prunes import prune

import benchmarks.__main__ as runner
from benchmarks import graphs, memory, networks, scaling, startup
from benchmarks import latency as timed
from benchmarks.data import MODELS, beside
from benchmarks.machine import machine, versions
from onnxprune.analyses.cost import Stats
from onnxprune.model import Model
from onnxprune.options import Amount


def test_one_command_tells_machine_versions_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "bench.json"
    runner.main(["networks", "--only", "digits_cnn", "-o", str(path)])
    told = json.loads(path.read_text())
    assert told["machine"]["cores"] >= 1
    assert len(told["machine"]["load"]) == 3
    assert {"python", "onnxprune", "onnx", "onnxruntime", "numpy", "apache-tvm", "git"} <= told["versions"].keys()
    [row] = told["benchmarks"]["networks"]["figures"]
    assert row["network"] == "digits_cnn"
    assert row["oracle"] < 1e-5 < 0.4 < row["MACs left"] <= 0.5
    assert row["pruned"] < row["healed"] <= 1
    assert all(row[f"{step} s"] > 0 for step in ("load", "fold", "prune", "heal"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "digits_cnn" in shown.err
    assert networks.__doc__.splitlines()[0] in shown.err


def test_json_goes_to_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ModuleType("tiny", "Two rows.\n\nMore.")
    tiny.main = lambda args: ({"model": path.stem, "macs": args.macs} for path in args.models[:2])
    big = ModuleType("big", "Not asked for.")
    big.main, big.ON_REQUEST = lambda args: [{"layers": args.layers}], "it is big"
    big.arguments = lambda group: group.add_argument("--layers", type=int, default=16)
    monkeypatch.setattr(runner, "discovered", lambda: {"tiny": tiny, "big": big})
    runner.main(["--macs", "60%"])
    told = json.loads(capsys.readouterr().out)["benchmarks"]
    assert told.keys() == {"tiny"}
    assert told["tiny"]["title"] == "Two rows."
    assert [row["macs"] for row in told["tiny"]["figures"]] == ["60%", "60%"]
    runner.main(["big", "--layers", "4"])
    assert json.loads(capsys.readouterr().out)["benchmarks"]["big"]["figures"] == [{"layers": 4}]


def test_what_was_measured_before_an_interruption_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(args: Namespace) -> Iterator[dict[str, int]]:
        yield {"size": 1234567}
        raise KeyboardInterrupt

    long = ModuleType("long", "Long.")
    long.main = rows
    monkeypatch.setattr(runner, "discovered", lambda: {"long": long})
    runner.main([])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["benchmarks"]["long"]["figures"] == [{"size": 1234567}]
    assert "1,234,567" in shown.err


def test_every_file_with_a_main_is_a_benchmark() -> None:
    found = runner.discovered()
    assert {"align", "networks", "startup"} <= found.keys()
    assert not {"data", "machine", "__main__"} & found.keys()


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main(["network"])
    assert "no benchmark 'network'; did you mean 'networks'?" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="there is no network 'x' in "):
        runner.main(["--only", "x"])


def test_a_network_that_fails_is_a_row_with_a_remark(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    [row] = networks.main(Namespace(models=[tmp_path / "broken.onnx"], macs="50%"))
    assert row["network"] == "broken"
    assert "not an ONNX model" in row["remarks"]


def test_data_is_that_of_the_network_or_of_its_family() -> None:
    assert beside(MODELS / "digits_cnn.onnx", "calib") == MODELS / "digits.calib.npz"
    assert beside(MODELS / "other.onnx", "calib") is None


def test_start_up_times_are_taken() -> None:
    rows = list(startup.main(Namespace(runs=1)))
    assert all(row["seconds"] > 0 for row in rows)


def test_machine_and_versions_are_there_without_what_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.machine.PACKAGES", ("onnxprune", "no-such-package"))
    monkeypatch.setattr("benchmarks.machine.MEMORY", "/no/such/file")
    monkeypatch.setenv("PATH", "")
    assert machine()["memory_gb"] is None
    assert [versions()[name] for name in ("no-such-package", "git")] == [None, None]


def test_the_command_is_the_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], capture_output=True, text=True, cwd=MODELS.parent
    )
    assert "align " in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("nodes", [10, 60, 90])
def test_networks_are_made_of_any_length(nodes: int) -> None:
    made = graphs.mixed(nodes)
    assert nodes <= len(made.graph.node) < nodes + 12
    after, _ = prune(Model.load(made), ratio="50%", align=1, min=1)
    assert after.get(Stats(), context(after)).params < Model.load(made).get(Stats(), context(after)).params


def test_time_and_memory_from_file_to_pruned_file_are_told() -> None:
    found = scaling.row("tiny", graphs.mixed(40))
    assert (found["network"], found["nodes"]) == ("tiny", len(graphs.mixed(40).graph.node))
    assert 0 < found["groups s"] < found["total s"]
    assert found["prune s"] < found["total s"]
    assert 10 < found["base MB"] <= found["peak MB"]


def test_memory_is_told_beside_what_it_is_to_stay_within() -> None:
    found = memory.row(MODELS / "digits_cnn.onnx", MODELS / "digits.calib.npz", 40, Amount.parse("50%"))
    assert (found["network"], found["samples"]) == ("digits_cnn", 40)
    assert 10 < found["base MB"] <= found["peak MB"]
    assert 0 < found["bound MB"] < 100
    drawn = memory.draw([found, {**found, "samples": 80}])
    assert drawn.startswith("<?xml")
    assert drawn != memory.draw([found, {**found, "samples": 80, "peak MB": 10.0}])


def test_samples_come_again_with_other_noise(tmp_path: Path) -> None:
    given = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)
    np.savez(tmp_path / "few.npz", x=given, labels=np.arange(3))
    memory.cycled(tmp_path / "few.npz", tmp_path / "many.npy", 7)
    many = np.load(tmp_path / "many.npy")
    assert (many.shape, many.dtype) == ((7, 2, 5), np.float32)
    for number, sample in enumerate(many):
        assert 0 < np.abs(sample - given[number % 3]).max() < 0.1
        assert np.abs(sample - given[(number + 1) % 3]).max() > 0.1
    assert np.abs(many[0] - many[3]).max() > 0


def halved(made: list[str]) -> Callable[[Path, str, int], SimpleNamespace]:
    """Results that take a tenth and nine tenths of the share that is asked for."""

    def compressed(model: Path, goal: str, threads: int) -> SimpleNamespace:
        made.append(goal)
        asked = float(goal.partition("=")[2].partition("%")[0]) / 100
        report = SimpleNamespace(
            latency=SimpleNamespace(before_ms=1.0, after_ms=0.1 + 0.9 * asked),
            accuracy=None,
            input=SimpleNamespace(stats=SimpleNamespace(macs=100)),
            output=SimpleNamespace(stats=SimpleNamespace(macs=round(100 * asked))),
            missed=(),
            passes=(),
        )
        return SimpleNamespace(report=report)

    return compressed


def test_a_macs_budget_of_equal_time_is_found_by_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(timed, "compressed", halved(made))
    args = Namespace(models=[MODELS / "digits_cnn.onnx"], latency="50%", threads=[1])
    asked, equal, half, third = timed.main(args)
    assert (asked["goal"], asked["time left"]) == ("latency", 0.55)
    assert equal["goal"] == "macs of equal time"
    assert 0.5 <= equal["time left"] <= asked["time left"]
    assert (half["asked"], third["asked"]) == ("50%", "30%")
    assert all(":heal=none" in goal for goal in made[1:-3])
