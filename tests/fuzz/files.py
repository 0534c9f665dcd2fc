"""What a damaged file must come to: a result, or a clean refusal with the exit code that is its own."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from contexts import context

from fuzz.corpus import CORPUS, Sample
from fuzz.mutate import damaged
from onnxprune import cli
from onnxprune.errors import ModelError
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.recipe import Recipe

WHOLE = 20  # one model in so many goes through the command line as a whole


def check(seed: int) -> str:
    """Damage one file of the corpus and use it; whatever is raised but a refusal goes through."""
    rng = np.random.default_rng(seed)
    sample = CORPUS[int(rng.integers(len(CORPUS)))]
    with tempfile.TemporaryDirectory(prefix="onnxprune-fuzz-") as folder:
        place = Path(folder)
        sample.write(place)
        victim = place / sample.files[int(rng.integers(len(sample.files)))]
        victim.write_bytes(damaged(victim, rng))
        return _command(sample, place) if sample.command or seed % WHOLE == 0 else _library(place)


def report(seed: int) -> str:
    """What goes wrong with a seed, empty when nothing does."""
    try:
        check(seed)
    except BaseException:
        import traceback

        return traceback.format_exc()
    return ""


def _library(place: Path) -> str:
    try:
        model = Model.load(place / "model.onnx")
        model.proto()
    except ModelError:
        return "refused"
    PassManager(Recipe.from_passes("fold,prune:ratio=50%:heal=none:align=1:min=1").passes).run(model, context(model))
    model.proto()
    return "used"


def _command(sample: Sample, place: Path) -> str:
    arguments = [argument.replace("{}", str(place)) for argument in sample.arguments()]
    before = {path.name for path in place.iterdir()}
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(arguments)
    assert code in (0, 1, 2, 3), f"exit code {code}: {said.getvalue()[-1500:]}"
    left = {path.name for path in place.iterdir()} - before
    assert left == ({"out"} if code <= 1 else set()), f"exit code {code} leaves {left}"
    return f"exit code {code}"
