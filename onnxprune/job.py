"""A job: a recipe and what was given beside it, resolved. All that can be refused without a model is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from onnxprune.backends.targets import Target, load_target
from onnxprune.cache import Cache
from onnxprune.data.preprocess import Preprocess
from onnxprune.data.sources import Source
from onnxprune.errors import UsageError
from onnxprune.evaluate import Metric, load_metric
from onnxprune.options import files
from onnxprune.passes import Pass
from onnxprune.progress import Progress
from onnxprune.recipe import Recipe, Vary, built, calls

__all__ = ["Given", "Job"]


class Given(TypedDict, total=False):
    """What may be given to ``compress`` under the names of the command line. None counts as not given."""

    calib: Source | None  #: samples of every graph input: a file, a folder, arrays, an iterable or a function of feeds
    test: Source | None  #: the same to measure on, perhaps with 'labels'
    preprocess: str | Mapping[str, object] | Preprocess | None  #: how images become what the graph reads
    labels: str | Path | None  #: of the files in a folder, a CSV file
    metric: str | Metric | None  #: (outputs, labels) -> score, or where to import it from
    targets: Sequence[str] | None  #: machines to compile for
    shapes: Mapping[str, Sequence[int]] | None  #: of graph inputs, whole
    max_drop: float | None  #: in percentage points of the metric
    seed: int | None  #: for all that is drawn at random
    threads: int | None  #: of onnxruntime, while latencies are taken
    jobs: int | None  #: pieces of independent work at once, each in a process; results do not depend on it
    verify_each: bool | None  #: check that every pass told the truth
    save_after: str | Path | None  #: a folder for the model after each pass
    depfile: str | Path | None  #: a file for the rule that tells Make and Ninja of all that was read
    progress: Progress | None  #: silent by default
    cache: Cache | None  #: Cache.default() by default


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What to do, on which data, and how."""

    recipe: Recipe
    targets: tuple[Target, ...]
    calib: Source | None
    test: Source | None
    metric: Metric | None
    verify_each: bool
    save_after: Path | None
    depfile: Path | None
    progress: Progress
    cache: Cache

    @property
    def files(self) -> list[Path]:
        """What the options of passes name, in order."""
        return [path for each in self.recipe.passes for path in files(each)]

    @classmethod
    def of(
        cls,
        passes: str | Sequence[Pass] | None,
        recipe: str | Path | Recipe | None,
        given: Given,
        vary: Vary | None = None,
    ) -> Job:
        """The job in which what is given stands above what the recipe says; ``vary`` may change options of its passes.

        Raises UsageError where that makes no sense.
        """
        said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if strange := sorted(said.keys() - Given.__annotations__.keys()):
            raise TypeError(f"compress() takes no argument '{strange[0]}'")
        base = _base(recipe, vary if passes is None else None)
        merged = replace(base, **_overrides(passes, said, vary))
        if passes is None and recipe is None and not merged.targets:
            raise UsageError("there is nothing to do: give passes (--passes fold,prune:macs=50%) or a --recipe")
        calib, test = said.get("calib", merged.calib), said.get("test", merged.test)
        if merged.max_drop is not None and calib is None and test is None:
            raise UsageError("a drop can be seen on data only: give --test or --calib along with --max-drop")
        metric = said.get("metric", merged.metric)
        return cls(
            recipe=merged,
            targets=tuple(load_target(name) for name in merged.targets),
            calib=calib,
            test=test,
            metric=load_metric(metric) if isinstance(metric, str) else metric,
            verify_each=said.get("verify_each", False),
            save_after=Path(said["save_after"]) if "save_after" in said else None,
            depfile=Path(said["depfile"]) if "depfile" in said else None,
            progress=said.get("progress") or Progress.silent(),
            cache=said.get("cache") or Cache.default(),
        )


def _base(recipe: str | Path | Recipe | None, vary: Vary | None) -> Recipe:
    if recipe is None:
        return Recipe()
    if not isinstance(recipe, Recipe):
        return Recipe.from_toml(recipe, vary)
    return replace(recipe, passes=built(calls(recipe.passes), vary)) if vary else recipe


def _overrides(passes: str | Sequence[Pass] | None, said: Mapping[str, Any], vary: Vary | None) -> dict[str, Any]:
    """The fields of a recipe that are given."""
    words = {key: said[key] for key in ("max_drop", "seed", "threads", "jobs") if key in said}
    if "preprocess" in said:
        words["preprocess"] = Preprocess.of(said["preprocess"])
    if "labels" in said:
        words["labels"] = str(said["labels"])
    if passes is not None:
        as_it_is = vary is None and not isinstance(passes, str)
        words["passes"] = tuple(passes) if as_it_is else built(calls(passes), vary)
    if "targets" in said:
        words["targets"] = (said["targets"],) if isinstance(said["targets"], str) else tuple(said["targets"])
    if "shapes" in said:
        words["shapes"] = {name: tuple(int(size) for size in shape) for name, shape in said["shapes"].items()}
    return words
