"""Prune a graph by half, and hold it against the original in which the removed channels are silenced.

``python -m benchmarks.architectures.check GRAPHS RESULTS`` checks what was not checked with the same code before.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx

from benchmarks.architectures.comparison import RTOL, Comparison
from benchmarks.architectures.counted import parameters
from benchmarks.architectures.isolated import isolated
from onnxprune.axes.silencing import removed, silenced
from onnxprune.cache import Cache
from onnxprune.errors import ModelError, OnnxPruneError
from onnxprune.evaluate import Evaluator
from onnxprune.executor import Serial
from onnxprune.feeds import made_up
from onnxprune.manager import PassManager, PassRecord, Skip
from onnxprune.model import Model
from onnxprune.node import Array, Node
from onnxprune.passes import Context
from onnxprune.progress import Progress
from onnxprune.recipe import Recipe
from onnxprune.runtime import Session
from onnxprune.shapes import input_shapes

__all__ = ["FOLDED", "PLAIN", "STATUSES", "checked", "code", "kept", "main", "verdict"]

Sizes = Mapping[str, tuple[int, ...]]

ROOT = Path(__file__).parents[2]
PLAIN = "prune:ratio=50%:align=1:heal=none"
FOLDED = f"fold,{PLAIN}"
SIZES: Mapping[str, Sizes] = {"silero_vad_16k_op15": {"input": (1, 512)}}  # where dynamic sizes cannot be 1
STATUSES = ("equal", "whole", "refused", "blind", "failed")  # worse and worse
SECONDS, GIB = 300, 14
CONTROL = 100 * RTOL
OWN = ("check.py", "comparison.py", "counted.py")


def main(graphs: Path, results: Path, pattern: str = "*") -> None:
    """Check what is new, and say of each what came out."""
    place = results / code()
    place.mkdir(parents=True, exist_ok=True)
    for path in sorted(graphs.glob("*.onnx"), key=lambda path: path.stat().st_size):
        if fnmatch(path.stem, pattern) and not (told := place / f"{path.stem}.json").exists():
            start = time.perf_counter()
            found = isolated(partial(checked, path), SECONDS, GIB)
            if "error" in found:
                found = {"status": "failed", "why": found["error"], "where": found.get("where", "")}
            found["seconds"] = round(time.perf_counter() - start, 1)
            told.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{found['seconds']:6.1f} s  {path.stem}  {found['status']}  {found['why'][:200]}", flush=True)


def kept(path: Path, results: Path) -> Path:
    """Where the result of a graph is kept, under the code that it was found with."""
    return results / code() / f"{path.stem}.json"


def code() -> str:
    """A hash of all Python that decides what is cut and how it is compared."""
    digest = hashlib.sha256()
    files = [*(ROOT / "onnxprune").rglob("*.py"), *(ROOT / "passes").rglob("*.py"), *map(Path(__file__).with_name, OWN)]
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def checked(path: Path) -> dict[str, Any]:
    """The verdicts on a file: that of the worst pipeline, the figures of the folded one, what ``approximate`` adds."""
    proto = onnx.load(path)
    sizes = SIZES.get(path.stem, {})
    plain, folded = verdict(proto, PLAIN, sizes), verdict(proto, FOLDED, sizes)
    worst = max(plain, folded, key=lambda found: STATUSES.index(found["status"]))
    more = _approximate(proto) if any(each["kind"] == "approximate" for each in folded.get("skipped", ())) else {}
    left = {"plain_left": plain["left"]} if "left" in plain else {}
    return {**folded, **left, **more, "status": worst["status"], "why": worst["why"]}


def verdict(proto: onnx.ModelProto, passes: str, sizes: Sizes = MappingProxyType({})) -> dict[str, Any]:
    """What came of a graph: ``status`` is equal, whole (nothing could go), refused, blind or failed; ``why`` says it.

    Blind is a comparison that would not see a wrong cut: the pruned network computes what the original computes.
    """
    try:
        model = Model.load(proto)
        context = _context(model, sizes)
        after = model.copy()
        records = PassManager(Recipe.from_passes(passes).passes).run(after, context)
    except OnnxPruneError as error:
        return {"status": "refused", "why": f"{passes}: {type(error).__name__}: {error}"}
    facts = _facts(proto, model, after, records)
    if not records[-1].changed:
        return {"status": "whole", "why": f"{passes}: {records[-1].note}", **facts}
    found = _compared(model, after, made_up(model, context.shapes, seed=0))
    return {**found, **facts, "why": found["why"] and f"{passes}: {found['why']}"}


def _approximate(proto: onnx.ModelProto) -> dict[str, Any]:
    """How much is left where cuts may change more than the removed channels, and whether that runs."""
    model = Model.load(proto)
    after, context = model.copy(), _context(model, {})
    PassManager(Recipe.from_passes(f"{FOLDED}:approximate=yes").passes).run(after, context)
    written = _written(after)
    Session(written, threads=1)(made_up(model, context.shapes, seed=0))
    return {"approximate_left": parameters(written)}


def _context(model: Model, sizes: Sizes) -> Context:
    cache, shapes = Cache(None), input_shapes(model, sizes)
    return Context(model, None, Evaluator(), None, Serial(), cache, Progress.silent(), shapes)


def _facts(proto: onnx.ModelProto, model: Model, after: Model, records: Sequence[PassRecord]) -> dict[str, Any]:
    """Parameters before and after, MACs left, seconds, and the reasons by the parameters that they hold back."""
    return {
        "parameters": parameters(proto),
        "left": parameters(after.outline()),
        "macs_left": records[-1].after.macs / (records[0].before.macs or 1),
        "prune_seconds": round(records[-1].seconds, 2),
        "skipped": _weighed(model, records[-1]),
    }


def _weighed(model: Model, record: PassRecord) -> list[dict[str, Any]]:
    """What was left, largest first: the layer, its parameters, why, and by what kind of operator."""
    known = {node.name: node for node in model.nodes}
    return sorted((_left(skip, known) for skip in record.skipped), key=lambda each: -int(each["parameters"]))


def _left(skip: Skip, known: Mapping[str, Node]) -> dict[str, Any]:
    layer, blamed = known.get(skip.where), known.get(skip.node or "")
    held = [t for t in (layer.inputs if layer is not None else ()) if t is not None and t.constant]
    size = sum(math.prod(d for d in t.shape or () if isinstance(d, int)) for t in held)
    operator = blamed.op if blamed is not None else ""
    return {"layer": skip.where, "parameters": size, "kind": skip.kind, "operator": operator, "why": skip.why}


def _compared(model: Model, after: Model, feeds: Mapping[str, Array]) -> dict[str, Any]:
    try:
        whole = Comparison.with_(model.proto(), feeds)
    except ModelError as error:
        return {"status": "blind", "why": f"the original does not run: {error}"}
    try:
        cut = _written(after)
        found = _distances(whole, silenced(model, removed(after)).proto(), cut, feeds)
    except ModelError as error:
        return {"status": "failed", "why": f"the pruned network does not run: {error}"}
    return {**_judged(found), **found}


def _written(model: Model) -> onnx.ModelProto:
    """What stands in the file that is saved."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.onnx")
        return onnx.load(Path(folder) / "model.onnx")


def _distances(
    whole: Comparison, mirror: onnx.ModelProto, cut: onnx.ModelProto, feeds: Mapping[str, Array]
) -> dict[str, float]:
    """How far the pruned network is from its mirror image, and from the original; that it runs when optimised."""
    reference = Comparison.with_(mirror, feeds)
    found = {"distance": reference.distance(cut), "control": whole.distance(cut)}
    if found["distance"] > RTOL:
        with suppress(ValueError, RuntimeError, NotImplementedError):  # not all graphs run in the reference
            found["float64"] = reference.exact(cut, mirror)
    Session(cut, threads=1, optimise=True)(feeds)
    return found


def _judged(found: Mapping[str, float]) -> dict[str, str]:
    if (apart := found.get("float64", found["distance"])) > RTOL:
        return {"status": "failed", "why": f"differs from the silenced original by {apart:.2g}"}
    if found["control"] <= CONTROL:
        return {"status": "blind", "why": f"differs from the original by {found['control']:.2g} only"}
    return {"status": "equal", "why": ""}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
