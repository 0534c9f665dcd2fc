"""The report: JSON that holds to its schema, and a table that fits a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from onnxprune.analyses.cost import Totals
from onnxprune.backends import Artifact
from onnxprune.evaluate import Accuracy, Fidelity, Latency
from onnxprune.manager import PassRecord, Skip
from onnxprune.report import ModelFile, Report, schema
from onnxprune.table import render_times, size

BEFORE, AFTER = Totals(38714, 832832, 154856, 33, 12288), Totals(17000, 416000, 68000, 24, 8192)
SKIPS = tuple(Skip(f"conv_{k}", "no rule for [Conv]", "no-rule", "conv_9", "w") for k in range(6))
PASSES = (
    PassRecord(
        name="fold", options={}, changed=False, note="nothing to fold", seconds=0.01, before=BEFORE, after=BEFORE
    ),
    PassRecord(
        name="prune",
        options={"macs": "50%", "keep": ["a.*", "b[0]"]},
        changed=True,
        note="cut 64 of 180 channels",
        seconds=1.5,
        before=BEFORE,
        after=AFTER,
        skipped=SKIPS,
        missed=("macs: 60% left, not 50%",),
    ),
)
BARE = Report(
    input=ModelFile(path=None, sha256="a" * 64, stats=BEFORE),
    output=ModelFile(path=None, sha256="b" * 64, stats=AFTER),
    passes=(),
)
FULL = replace(
    BARE,
    input=replace(BARE.input, path="nets/[bold]net.onnx"),
    output=replace(BARE.output, path="out/model.onnx"),
    passes=PASSES,
    fidelity=Fidelity(1.25, 0.2, 0.9987, 21.5, 0.98, 450),
    accuracy=Accuracy("my.metrics:f1", 0.9933, 0.98, 450),
    latency=Latency(2, 300, 0.06, 0.03, 0.002, 0.001),
    targets=(
        Artifact(
            name="host",
            artifact=Path("out/host/model.so"),
            bytes=130_000,
            verified="host",
            max_abs_error=2.4e-6,
            max_rel_error=1.2e-7,
            latency_ms=0.05,
            folder_bytes=6_100_000,
        ),
        Artifact(
            name="rpi4",
            artifact=Path("out/rpi4/model.so"),
            bytes=1_300_000,
            why="qemu-aarch64 is not installed",
            folder_bytes=1_400_000,
            missing="copy [libtvm_ffi.so]",
        ),
    ),
    missed=("prune: macs: 60% left, not 50%",),
    seed=7,
)


def change(report: dict[str, Any], *path: Any, to: object) -> dict[str, Any]:
    """A copy with one value changed."""
    result = json.loads(json.dumps(report))
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return result


@pytest.mark.parametrize("report", [pytest.param(BARE, id="bare"), pytest.param(FULL, id="full")])
def test_a_report_holds_to_the_schema(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(report.to_dict(), schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda r: change(r, "schema", to=2), id="another schema"),
        pytest.param(lambda r: change(r, "output", "sha256", to="abc"), id="no hash"),
        pytest.param(lambda r: change(r, "passes", 0, "changed", to="yes"), id="a word for a truth"),
        pytest.param(lambda r: change(r, "input", "stats", "macs", to=1.5), id="half an operation"),
        pytest.param(lambda r: change(r, "targets", 0, "verified", to="maybe"), id="unknown word"),
        pytest.param(lambda r: {k: v for k, v in r.items() if k != "latency"}, id="a missing key"),
    ],
)
def test_the_schema_refuses_other_things(wrong: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong(FULL.to_dict()), schema(), cls=jsonschema.Draft202012Validator)


def test_the_keys_are_those_of_schema_1() -> None:
    report = FULL.to_dict()
    assert set(report) == set(schema()["required"]) == set(schema()["properties"])
    defined = schema()["$defs"]
    parts = {
        "stats": report["input"]["stats"],
        "model": report["output"],
        "pass": report["passes"][0],
        "fidelity": report["fidelity"],
        "accuracy": report["accuracy"],
        "latency": report["latency"],
        "target": report["targets"][0],
    }
    for name, part in parts.items():
        assert set(part) == set(defined[name]["required"]) == set(defined[name]["properties"]), name
    assert report["tool"] == {"name": "onnxprune", "version": report["tool"]["version"]}
    assert report["passes"][1]["skipped"][0] == {
        "where": "conv_0",
        "why": "no rule for [Conv]",
        "kind": "no-rule",
        "node": "conv_9",
        "tensor": "w",
    }
    assert report["targets"][1]["artifact"] == "out/rpi4/model.so"


def test_json_has_sorted_keys_and_is_the_same_every_time(tmp_path: Path) -> None:
    text = FULL.to_json(tmp_path / "report.json")
    assert text == FULL.to_json() == (tmp_path / "report.json").read_text()
    read = json.loads(text)
    assert read == FULL.to_dict()
    assert list(read) == sorted(read)
    assert text.endswith("}\n")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    text = FULL.table(width)
    assert max(map(len, text.splitlines())) <= width


def test_the_table_tells_all_that_matters() -> None:
    words = " ".join(FULL.table(120).split())
    for part in (
        "nets/[bold]net.onnx → out/model.onnx",
        "fold 0.01 unchanged: nothing to fold",
        "prune 1.50 cut 64 of 180 channels",
        "parameters 38,714 17,000 43.9% left",
        "MACs 832,832 416,000 50.0% left",
        "weights 154.9 kB 68.0 kB 43.9% left",
        "peak activation memory 12.3 kB 8.2 kB 66.7% left",
        "nodes 33 24 72.7% left",
        "latency (2 threads) 0.060 ± 0.002 ms 0.030 ± 0.001 ms 2.00× as fast",
        "f1 (n = 450) 0.9933 0.9800 -1.33 points",
        "cosine 0.99870, SQNR 21.5 dB, same class 98.0%, max abs error 1.25",
        "host 130.0 kB on host 1.2e-07 0.050 ms out/host/",
        "rpi4 1.3 MB not run here out/rpi4/",
        "rpi4 was not run: qemu-aarch64 is not installed",
        "rpi4 is not complete: copy [libtvm_ffi.so]",
        "Places left as they are: 6 (-v shows all)",
        "prune: conv_3: no rule for [Conv]",
        "Goal missed: prune: macs: 60% left, not 50%",
    ):
        assert part in words, f"{part}\n{words}"
    assert "conv_4" not in words


def test_all_skipped_places_are_shown_on_demand() -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as text:
        FULL.render(console, verbose=True)
    assert "conv_5" in text.get()
    assert "-v shows" not in text.get()


def test_what_was_not_measured_is_not_made_up() -> None:
    text = BARE.table()
    assert "Not compared with the original: there is no data (--calib, --test)." in text
    assert not any(word in text for word in ("latency", "Goal missed", "left as they", "pass "))
    equal = replace(FULL, fidelity=Fidelity(0.0, 0.0, 1.0, None, None, 8), accuracy=Accuracy("top1", 0.5, 0.5, 8))
    words = " ".join(equal.table().split())
    assert "cosine 1.00000, outputs equal, max abs error 0." in words
    assert "top1 (n = 8) 0.5000 0.5000 no change" in words


def test_times_are_shown_slowest_first() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as text:
        render_times(FULL, console)
    rows = [line.split() for line in text.get().splitlines()]
    assert [row for row in rows if row and row[0] in ("fold", "prune", "all")] == [
        ["prune", "1.500", "99.3%"],
        ["fold", "0.010", "0.7%"],
        ["all", "1.510"],
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000, "2.3 MB"), (5 * 10**9, "5.0 GB")]
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert size(count) == text
