"""How much of real architectures is pruned, whether it is right, and what Torch-Pruning and onnxsim do with them.

Networks of torchvision and timm with random weights (``architectures/listed.py`` is the list, and says how the settings
are chosen) are exported, pruned with ``ratio=50%`` (after ``fold``, and without), run in onnxruntime as they are and
optimised, and held against the original in which the removed channels are silenced. The peers get the same networks and
the same ratio. The networks of ../shared/zoo are added where they are.

Exports and peers run in an environment of their own. All that was found is kept in a folder: a run that was stopped
goes on, and one with other code checks the same graphs anew.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.architectures.check import kept
from benchmarks.architectures.listed import graphs
from benchmarks.architectures.page import page
from benchmarks.data import ZOO
from benchmarks.environment import ONE_THREAD, ROOT, interpreter

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it takes hours and 30 GB"
MODULE = "benchmarks.architectures"


def arguments(group: argparse._ArgumentGroup) -> None:
    """The options of this benchmark."""
    group.add_argument(
        "--kept",
        type=Path,
        default=ROOT / "build" / "coverage",
        metavar="FOLDER",
        help="for the graphs and the environment",
    )
    group.add_argument("--graphs", default="*", metavar="PATTERN", help="those whose names match")


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network, least removed first."""
    exported, results, peers = (args.kept / part for part in ("graphs", "results", "peers"))
    torch = interpreter(args)
    _run(torch, "export", exported, pattern=args.graphs)
    for folder in (exported, ZOO):
        _run(Path(sys.executable), "check", folder, results, pattern=args.graphs)
    _run(torch, "peers", exported, peers, pattern=f"*.{args.graphs}")
    checked = list(_checked(exported, results, args.graphs))
    rows = sorted((_row(name, found, peers) for name, found in _by_network(checked).items()), key=_removed)
    if args.page is not None:
        args.page.write_text(page(checked, rows, _unwritten(exported, args.graphs)), encoding="utf-8")
    yield from rows


def _run(python: Path, script: str, *folders: Path, pattern: str) -> None:
    """Do what is missing; every graph is one process, one after the other, each of one thread."""
    words = [str(python), "-m", f"{MODULE}.{script}", *(str(folder.resolve()) for folder in folders), pattern]
    subprocess.run(words, check=True, cwd=ROOT, stdout=sys.stderr, env=ONE_THREAD)


def _checked(exported: Path, results: Path, pattern: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Network, setting and verdict of every graph; the networks of the zoo come as they are."""
    for graph in graphs():
        told = _told(kept(exported / f"{graph}.onnx", results))
        if fnmatch(str(graph), pattern) and told:
            yield str(graph.network), str(graph.setting), told
    for path in sorted(ZOO.glob("*.onnx")):
        if fnmatch(path.stem, pattern) and (told := _told(kept(path, results))):
            yield f"zoo.{path.stem}", "as it is", told


def _unwritten(exported: Path, pattern: str) -> dict[str, str]:
    """The graphs that the exporter did not write, with the first sentence of its reason."""
    names = [str(graph) for graph in graphs() if fnmatch(str(graph), pattern)]
    told = {name: _told(exported / f"{name}.json").get("error", "") for name in names}
    return {name: re.split(r"\. |\n", why)[0] for name, why in told.items() if why}


def _told(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _by_network(checked: list[tuple[str, str, Mapping[str, Any]]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for network, setting, verdict in checked:
        found.setdefault(network, {})[setting] = verdict
    return found


def _row(network: str, verdicts: Mapping[str, Mapping[str, Any]], peers: Path) -> dict[str, Any]:
    """What is removed: by us the least over the graphs, by onnxsim the most of those that run afterwards."""
    told = [each for each in verdicts.values() if "left" in each]
    loose = [1 - each.get("approximate_left", each["left"]) / each["parameters"] for each in told]
    sims = [_told(peers / f"onnxsim.{network}-{setting}.json") for setting in verdicts]
    valid = [each["removed"] for each in sims if each.get("invalid") == ""]
    return {
        "network": network,
        "graphs": len(verdicts),
        "equal": sum(each["status"] == "equal" for each in verdicts.values()),
        "others": ", ".join(sorted({each["status"] for each in verdicts.values()} - {"equal"})),
        "removed": min((1 - each["left"] / each["parameters"] for each in told), default=None),
        "approximate": min(loose, default=None),
        "MACs left": max((each["macs_left"] for each in told), default=None),
        "Torch-Pruning": _told(peers / f"torch-pruning.{network}.json").get("removed"),
        "onnxsim": max(valid, default=None),
        "onnxsim runs": f"{len(valid)} of {sum(map(bool, sims))}" if any(sims) else "",
    }


def _removed(row: Mapping[str, Any]) -> float:
    return float(row["removed"] or 0)
