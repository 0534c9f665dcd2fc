"""The benchmarks of accuracy without training: rows of one small network, ratios that are searched, and the page."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import criteria, pruning
from benchmarks.accuracy import contestants
from benchmarks.accuracy.arena import Arena
from benchmarks.accuracy.contestants import OURS, Peer, nearest
from benchmarks.accuracy.page import write
from benchmarks.data import MODELS
from onnxprune.errors import UsageError

NETWORK = MODELS / "digits_cnn.onnx"


def given(**more: Any) -> Namespace:
    usual = {"macs": "50%", "seeds": 2, "peers": False, "curve": False, "page": None, "torch": None, "rows": None}
    return Namespace(models=[NETWORK], **{**usual, **more})


def test_every_contestant_has_a_row_at_the_wanted_share() -> None:
    rows = {row["contestant"]: row for row in pruning.main(given())}
    assert list(rows) == [who.name for who in OURS]
    ours, raw = rows["onnxprune"], rows["L2, not healed"]
    assert ours["drop"] < 5 < raw["drop"]
    assert ours["KL"] < raw["KL"]
    assert (raw["±"], ours["±"]) == (None, pytest.approx(0, abs=2))  # nothing of the former is random
    assert all(0.4 < row["MACs left"] <= 0.5 and row["seconds"] > 0 for row in rows.values())
    assert rows["align=1"]["MACs left"] > 0.49


def test_a_curve_is_a_row_for_every_share_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CURVE", (0.8,))
    monkeypatch.setattr(pruning, "OURS", OURS[2:])
    page = tmp_path / "docs" / "found.md"
    rows = list(pruning.main(given(curve=True, page=page)))
    assert [(row["wanted"], row["main"]) for row in rows] == [(0.8, False), (0.5, True)]
    assert [row["seconds"] for row in rows] == [None, None]  # a cache makes them worthless
    text = page.read_text(encoding="utf-8")
    assert f"| `digits_cnn` | 50% | {rows[1]['original']:.2%} | {rows[1]['drop']:.1f}" in text
    assert "](pictures/found.svg)" in text
    ElementTree.parse(page.parent / "pictures" / "found.svg")
    kept, again = tmp_path / "kept.json", tmp_path / "again" / "found.md"
    kept.write_text(json.dumps({"benchmarks": {"pruning": {"figures": rows}}}))
    assert list(pruning.main(given(rows=[kept, kept], page=again))) == []
    assert again.read_text(encoding="utf-8") == text


def test_a_peer_that_is_not_there_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "PEERS", ("onnxsim Wanda", "onnxsim L2", "Torch-Pruning L2"))
    monkeypatch.setattr(pruning, "OURS", ())
    rows = list(pruning.main(given(peers=True, torch=Path(sys.executable))))
    assert [row["contestant"] for row in rows] == ["onnxsim Wanda", "onnxsim L2"]  # Torch-Pruning has no such module
    assert not any("top-1" in row for row in rows)
    assert all("No module named 'onnxsim'" in row["remarks"] for row in rows)


def test_a_peer_is_brought_to_the_wanted_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "PROBES", 5)
    arena = Arena(NETWORK)

    def ask(ratio: float, final: bool) -> tuple[Path, float]:
        path = tmp_path / f"{ratio}.onnx"
        cut = arena.passed(f"fold,prune:ratio={ratio}:align=1:importance=l2:heal=none")
        cut.model.save(path)
        return path, 2.0 if final else 1.0

    entry = Peer("uniform", ask).cut(arena, 0.3)
    assert arena.left(entry.model) == pytest.approx(0.3, abs=0.05)
    assert arena.left(arena.passed("fold").model) == 1
    assert entry.seconds == 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.77])
def test_the_ratio_is_found_that_leaves_most_nearly_a_share(share: float) -> None:
    def left(ratio: float) -> float:
        return 1 - int(ratio * 40) / 40

    assert abs(left(nearest(left, share)) - share) <= 1 / 80 + 1e-9


def test_a_network_without_labels_is_refused(tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(NETWORK.read_bytes())
    with pytest.raises(UsageError, match="accuracy needs calibration data and labelled test data"):
        Arena(alone).left(Arena(NETWORK).ready.ctx.original)
    assert list(pruning.main(Namespace(**{**vars(given()), "models": [alone]}))) == []


def test_what_cannot_be_cut_and_what_misses_the_share_is_told_on_the_page(tmp_path: Path) -> None:
    row = {"network": "n", "wanted": 0.5, "main": True, "remarks": ""}
    figures = {"MACs left": 0.9, "original": 0.8, "top-1": 0.75, "drop": 5.0, "±": 0.25, "KL": 0.1234}
    failed = {**row, "contestant": "other", "remarks": "it does not run"}
    write(tmp_path / "page.md", [{**row, "contestant": "one", **figures}, failed])
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| `n` | 50% | 80.00% | 5.0 ± 0.2 at 90% | – |" in text
    assert "| `n` | 50% | 0.123 | – |" in text
    assert "- `n` at 50%, other: it does not run" in text
    assert not (tmp_path / "pictures").exists()


def test_criteria_are_compared_raw_and_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criteria, "CRITERIA", ("l1", "no-such"))
    row, strange = criteria.main(given(cut="50%"))
    assert (row["criterion"], row["network"]) == ("l1", "digits_cnn")
    assert row["raw"] < row["healed"] <= 1
    assert row["MACs left"] < 0.5
    assert "importance" in strange["remarks"]
