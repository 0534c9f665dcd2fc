"""Compute on integers: 8-bit weights and activations, on grids found from unlabelled data.

Layers, and what lies between them, read and make whole numbers; QuantizeLinear and DequantizeLinear say so, and
onnxruntime turns what stands between two of them into an integer kernel (``placement``). The grid of an activation
comes from its histogram (``ranges``), that of a weight from the channel's largest magnitude, zero point 0. With drop=
nodes by which much is lost stay in float (``mixing``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from onnxprune.backends.targets import this_profile
from onnxprune.calibrate import Calibration
from onnxprune.errors import UsageError
from onnxprune.evaluate import Accuracy
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.options import option
from onnxprune.overrides import matched, readable
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.quantization.choosing import BestRules, ranges_by
from onnxprune.quantization.decisions import Decisions, document, read
from onnxprune.quantization.mixing import Mixed, costs, mixed
from onnxprune.quantization.network import OPSET, Quantized, Scheme, quantized, with_ranges
from onnxprune.quantization.placement import ALREADY
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.qoperators import convert
from onnxprune.quantization.ranges import RULES
from onnxprune.quantization.refining import refined
from onnxprune.quantization.repairing import REPAIRS, corrected, prepared
from onnxprune.quantization.sensitivity import NodeLosses

__all__ = ["Quantize"]

AUTO, PLAIN = "auto", "mse"
FEW = 6  # nodes that are named in a line
MUCH = 0.1  # nats of class probabilities, or of the power of any other output


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Compute on 8-bit integers, with grids found from calibration data.

    drop=1 leaves nodes in float, of as few multiplications as will do, so that no more than one point of the metric is
    lost on calibration data that grids and weights were not fitted to. What was decided is written to quantize.json
    beside the model; decisions= obeys it, as it is or edited.
    """

    name: ClassVar[str] = "quantize"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ("calibration",)

    calibration: Annotated[str, (AUTO, *RULES)] = option(
        "mse", "how the range of an activation is found; auto: for each as the network loses least"
    )
    weights: Literal["channel", "tensor"] = option("channel", "weights have a scale per channel, or one per tensor")
    round: Literal["auto", "nearest", "gptq", "adaround"] = option("auto", "how weights are rounded; auto: gptq")
    profile: Annotated[str, ("auto", *PROFILES)] = option("auto", "the integers; auto: the target's, or this machine's")
    repair: tuple[Literal["auto", "none", "equalise", "absorb", "bias"], ...] = option(
        ("auto",),
        "what rounding does is made up for, where that helps: equalise channels, absorb high biases, correct biases;"
        " auto: all",
    )
    drop: float | None = option(None, "points that the metric may fall on calibration data: few nodes stay in float")
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches stay in float")
    int8: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches drop= leaves alone")
    sensitivity: bool = option(False, "measure what the network loses by each node alone; drop= does so anyway")
    decisions: Path | None = option(
        None, "a quantize.json to obey; calibration, weights, round, profile and repair then have no say"
    )

    def __post_init__(self) -> None:
        readable("keep", self.keep)
        readable("int8", self.int8)
        if self.drop is not None and not 0 <= self.drop < math.inf:
            raise UsageError("drop= takes percentage points of the metric, 0 or more")
        if self.decisions is not None and (self.keep or self.int8 or self.drop is not None):
            raise UsageError("decisions= says what stays in float; leave out keep=, int8= and drop=")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Find the grids and what stays in float, and put the pairs in."""
        work = model.copy()
        work.lift(OPSET)
        converted = convert(work)
        given, float_ = self._decided(work, ctx, looked=False), work
        plan = self._scheme(work, ctx, replace(given, rules={}, ranges={}))  # ranges are of what is repaired
        work, repairs, preparing = prepared(work, ctx, plan, self._repairs, given.repairs)
        found = self._plain(work, ctx) if self.drop is None else self._within(self.drop, work, ctx)
        result, bias, correcting = corrected(work, found.result, ctx, self._repairs, given.repairs)
        reasons = {**found.result.placement.floats, **found.decided.left}
        if touched := bool(result.placement.nodes) or converted > 0:
            done = replace(found.decided, repairs=replace(repairs, bias=bias))
            decisions, before = document(work, result, found.scheme, done, costs(work, ctx)), model.opset
            model.become(result.model)
        model.skipped.update(work.skipped)
        for name, why in reasons.items():
            model.skip(name, f"stays in float: {why}" if why != ALREADY else f"stays as it is: {why}")
        for name, why in result.plain.items():
            model.skip(name, f"rounded to nearest: {why}")
        if not touched:
            known = f": {ALREADY}" if ALREADY in reasons.values() else ""
            return Unchanged(f"there is nothing to quantize{known}{found.note}", found.missed)
        lifted = f"; opset {before} → {OPSET}" if before < OPSET else ""
        written = f"; {converted} operators on integers written as QDQ" if converted else ""
        said = (written, lifted, preparing, result.said, correcting, found.note, self._warning(float_, result, ctx))
        return Changed(f"quantized {len(result.weights)} layers{''.join(said)}", found.missed, decisions=decisions)

    def _warning(self, work: Model, result: Quantized, ctx: Context) -> str:
        """What to do where it is the wrong network for integers alone."""
        if self.drop is not None or self.decisions is not None or ctx.calibration is None or not result.weights:
            return ""
        (loss,) = losses(work, [result.model], ctx.calibration)
        return f"; much is lost (loss {loss:.3g}): drop=1 finds the nodes to leave in float" if loss > MUCH else ""

    @property
    def _repairs(self) -> tuple[str, ...]:
        return REPAIRS if "auto" in self.repair else tuple(name for name in REPAIRS if name in self.repair)

    def _plain(self, work: Model, ctx: Context) -> _Found:
        """As the options say."""
        decided = self._decided(work, ctx)
        scheme = self._scheme(work, ctx, decided)
        if self.sensitivity:
            decided = replace(decided, losses=work.get(NodeLosses(scheme.whole), ctx))
        return _Found(self._rounded(work, ctx, scheme, decided), scheme, decided)

    def _rounded(self, work: Model, ctx: Context, scheme: Scheme, decided: Decisions) -> Quantized:
        """All of the data has its say in grids and in how weights are rounded."""
        plain, rule = quantized(work, ctx, scheme), decided.round or self._rule
        return refined(work, plain, ctx, rule, judge=decided.round is None)

    def _within(self, drop: float, work: Model, ctx: Context) -> _Found:
        """With as little in float as lets no more be lost on each half of the data, with grids found on the other."""
        if ctx.calibration is None:
            raise UsageError("pass 'quantize': drop= is measured on data: give --calib")
        decided = self._decided(work, ctx)
        scheme = self._scheme(work, ctx, decided)
        losses, prices = work.get(NodeLosses(scheme.whole), ctx), costs(work, ctx)
        folds = list[tuple[Context, Calibration, Scheme]]()
        for fit, check in ctx.calibration.halves():
            seen = replace(ctx, calibration=fit)
            folds.append((seen, check, with_ranges(work, seen, self._scheme(work, seen, self._decided(work, seen)))))

        def attempt(left: frozenset[str], rule: str = "nearest") -> Mixed:
            found = list[Accuracy]()
            for seen, check, own in folds:
                plain = quantized(work, seen, replace(own, excluded=own.excluded | left))
                result = refined(work, plain, seen, rule).model
                found.append(ctx.evaluator.measure(ctx.original, result, check))
            return Mixed(left, Accuracy.pooled(found), rule)

        fixed = scheme.excluded | self._matched("int8", work)
        free = {name: loss for name, loss in losses.items() if name not in fixed}
        found = attempt(frozenset(), self._rule)
        if not found.within(drop):
            plain = mixed(drop, free, prices, attempt, ctx.progress)
            found = min(attempt(plain.left, self._rule), plain, key=lambda each: not each.within(drop))
        told = f"drop={drop:g}: {found.told()}"
        note = f"; {told}{_named(found, prices)}"
        missed = () if found.within(drop) else (f"{told}, even with all in float that may be",)
        why = dict.fromkeys(sorted(found.left), f"by it more than drop={drop:g} would be lost")
        rounds = "nearest" if found.rule == "nearest" else None
        decided = replace(decided, losses=losses, left={**decided.left, **why}, round=rounds)
        scheme = self._scheme(work, ctx, decided)
        return _Found(self._rounded(work, ctx, scheme, decided), scheme, decided, note, missed)

    def _decided(self, work: Model, ctx: Context, *, looked: bool = True) -> Decisions:
        """What is decided before nodes are looked at one by one, and, unless ``looked``, before the data is."""
        if self.decisions is not None:
            return read(self.decisions, work)
        left = {
            node.name: f"keep={pattern}" for pattern in self.keep for node in matched("keep", pattern, work, self.name)
        }
        scheme = self._scheme(work, ctx, Decisions(left=left))
        rules = work.get(BestRules(scheme.whole), ctx) if self.calibration == AUTO and looked else {}
        return Decisions(rules, left=left)

    def _matched(self, name: str, work: Model) -> frozenset[str]:
        return frozenset(n.name for pattern in getattr(self, name) for n in matched(name, pattern, work, self.name))

    def _scheme(self, work: Model, ctx: Context, decided: Decisions) -> Scheme:
        """Grids by the rule, where it is not decided what they are."""
        profile = PROFILES[decided.profile or self._profile(ctx)]
        per_channel = (decided.weights or self.weights) == "channel"
        rule = self.calibration if self.calibration != AUTO else PLAIN
        scheme = Scheme(profile, rule, per_channel, frozenset(decided.left))
        missing = {name: rule for name, rule in decided.rules.items() if name not in decided.ranges}
        found = ranges_by(work, ctx, scheme, missing) if missing else ()
        return replace(scheme, ranges=tuple(sorted([*found, *decided.ranges.items()])))

    @property
    def _rule(self) -> str:
        return self.round if self.round != "auto" else "gptq"

    def _profile(self, ctx: Context) -> str:
        return self.profile if self.profile != "auto" else ctx.target.int8 if ctx.target is not None else this_profile()


@dataclass(frozen=True, eq=False)
class _Found:
    """A quantized network, what was decided, and what is to be said of it."""

    result: Quantized
    scheme: Scheme
    decided: Decisions
    note: str = ""
    missed: tuple[str, ...] = ()


def _named(found: Mixed, prices: Mapping[str, float]) -> str:
    """The nodes in float, the most expensive first, and what share of the multiplications they are."""
    if not found.left:
        return ", all on integers"
    names = sorted(found.left, key=lambda name: (-prices[name], name))
    share = sum(prices[name] for name in names) / sum(prices.values())
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f", {share:.1%} of the MACs in float: {', '.join(names[:FEW])}{more}"
