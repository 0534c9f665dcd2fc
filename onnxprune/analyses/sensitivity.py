"""How much harm it does to remove more and more of the channels of a family, and in which order they go.

The order is that of a criterion (``importance``). With calibration data the harm of the first k atoms is

    loss(p) · e(k) / e(p)

where e(k) is the share of what the next layers make of the channels that is lost with the first k after the best refit
(``Reader.lost``, summed over the layers), and loss(p) (``ablated``) is measured: the network without the first p atoms,
half of the family, its next layers refitted if that helps, on the check part. So e gives the shape of the curve and a
run of the network its scale. Without data the harm is Σᵢ (1 − eᵢ)⁻² − 1 with eᵢ the share of layer i's weights that
went: a small cut costs what it removes, and the last channels of a layer cost more than those of any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnxprune.ablation import LEAST, MOST, Losses, ablated, leaves_some
from onnxprune.analyses.importance import Magnitude, weights_of
from onnxprune.axes.linear import Linear, linear
from onnxprune.calibrate import Calibration
from onnxprune.footprints import Family, Ranking, families
from onnxprune.importance import CRITERIA, Evidence, Importance, Maker, Seen, Watch
from onnxprune.model import Model
from onnxprune.moments import Moments, read, width
from onnxprune.node import Array, Axis
from onnxprune.passes import Analysis, Context
from onnxprune.portions import room
from onnxprune.readers import Reader, readers_of, readings
from onnxprune.reference import Reference, behind
from onnxprune.shapes import concrete
from onnxprune.stepwise import Stepwise
from onnxprune.watching import Scene, look

__all__ = ["Sensitivity", "with_readers"]

ROOM = 64 << 20  # bytes of sums and activations at once
PROBE = 0.5  # the share of a family that is removed to measure the loss
TINY = 1e-9


@dataclass(frozen=True)
class Sensitivity(Analysis[Mapping[str, Ranking]]):
    """The ranking of every family, by its name; kept on disk.

    ``kept`` are axes of which nothing may go, ``approximate`` says that cuts may change more than the channels that go.
    """

    criterion: str
    kept: tuple[Axis, ...] = ()
    approximate: bool = False
    uses = ("original", "calibration", "seed", "shapes")
    revision = 2

    def compute(self, model: Model, ctx: Context) -> Mapping[str, Ranking]:
        """Family after family; of the data, as much at once as there is room for sums."""
        importance, found = CRITERIA[self.criterion], dict[str, Ranking]()
        wanted = [(f, atoms) for f in families(model, ctx) if len(atoms := f.free(self.kept, self.approximate))]
        shares = model.get(Magnitude(importance.norm), ctx)
        seen, probes = _seen(model, ctx, importance.watches, wanted), _probes(model, ctx, wanted)
        with ctx.progress.task("ranking", len(wanted)) as step:
            for batch in with_readers(model, ctx, wanted):
                for family, atoms, readers in batch:
                    makers = [
                        Maker(family.group.atoms[a], shares[a], partial(weights_of, model, a)) for a in family.made
                    ]
                    evidence = Evidence(atoms, makers, readers, ctx.seed, seen.get(id(family.group), ()))
                    found[family.where] = _ranked(model, importance, family, evidence, probes.get(family.where))
                    step()
        return found

    def pack(self, result: Mapping[str, Ranking]) -> dict[str, Array]:
        """As named arrays: orders and harms by number."""
        packed = {"names": np.array(json.dumps(list(result)))}
        packed |= {f"order{number}": each.order for number, each in enumerate(result.values())}
        return packed | {f"harm{number}": each.harm for number, each in enumerate(result.values())}

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, Ranking]:
        """From named arrays."""
        names = enumerate(json.loads(str(arrays["names"])))
        return {name: Ranking(arrays[f"order{number}"], arrays[f"harm{number}"]) for number, name in names}


Wanted = tuple[Family, Array]
Read = tuple[Family, Array, Sequence[Reader]]


def with_readers(model: Model, ctx: Context, wanted: Sequence[Wanted]) -> Iterator[Iterator[Read]]:
    """Families with all that reads their groups, as many at once as there is room for; no readers without data."""
    if ctx.calibration is None:
        yield ((family, atoms, []) for family, atoms in wanted)
        return
    fit, _ = ctx.calibration.split()
    by_group = _by_group(wanted)
    views = {key: readers_of(model, ctx.original, part[0][0].group) for key, part in by_group.items()}
    runs, parts = Stepwise(fit), list(_batches(_sizes(model, ctx, views, fit)))
    for number, keys in enumerate(parts):
        own = list({view.node.name: view for key in keys for view in views[key]}.values())
        later = [view for after in parts[number + 1 :] for key in after for view in views[key]]
        sums = dict(zip((v.node.name for v in own), read(model, own, runs, fit.count, ctx.seed, later), strict=True))
        yield _each(((by_group[key], views[key]) for key in keys), sums)


def _each(parts: Iterable[tuple[Sequence[Wanted], Sequence[Linear]]], sums: dict[str, Moments]) -> Iterator[Read]:
    """What was made a reader of is let go."""
    for part, views in parts:
        readers = [r for v in views for r in readings(v, part[0][0].group, sums.pop(v.node.name))]
        yield from ((family, atoms, readers) for family, atoms in part)


def _by_group(wanted: Sequence[Wanted]) -> Mapping[int, Sequence[Wanted]]:
    by_group: dict[int, list[Wanted]] = {}
    for family, atoms in wanted:
        by_group.setdefault(id(family.group), []).append((family, atoms))
    return by_group


def _sizes(model: Model, ctx: Context, views: Mapping[int, Sequence[Linear]], data: Calibration) -> dict[int, int]:
    """The bytes that the readers of each group take: their sums, and a batch of what they read."""
    shapes, samples = concrete(model, ctx.shapes), 1 if data.batch else data.at_once
    return {
        key: sum(8 * width(v) ** 2 * v.groups + samples * room(v.x, shapes) for v in own) for key, own in views.items()
    }


def _batches(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Keys in order, as many at once as stay together below ROOM, one at least."""
    batch, total = list[int](), 0
    for key, size in sizes.items():
        if batch and total + size > ROOM:
            yield batch
            batch, total = [], 0
        batch.append(key)
        total += size
    if batch:
        yield batch


def _seen(model: Model, ctx: Context, watch: Watch | None, wanted: Sequence[Wanted]) -> Mapping[int, Sequence[Seen]]:
    """What a criterion watches in each group."""
    if watch is None:
        return {}
    scenes = []
    for part in _by_group(wanted).values():
        group = part[0][0].group
        names = dict.fromkeys(name for family, _ in part for layers in family.made.values() for name in layers)
        makers = [view for name in names if (view := linear(model.node(name))) is not None]
        scenes.append(Scene(group, makers, readers_of(model, ctx.original, group)))
    fit = None if ctx.calibration is None else ctx.calibration.split()[0]
    return {id(scene.group): seen for scene, seen in zip(scenes, look(model, watch, scenes, fit), strict=True)}


def _probes(model: Model, ctx: Context, wanted: Sequence[Wanted]) -> Mapping[str, Losses]:
    """For each family, by its name, what tells the losses of networks that lack some of it; nothing without data.

    They are to be asked one after the other: what lies before a family is then computed once.
    """
    if ctx.calibration is None:
        return {}
    reference = Reference(model, ctx.calibration.split()[1])
    changes = [behind(model, (a.tensor for a in f.counts if isinstance(a, Axis))) for f, _ in wanted]
    return {
        family.where: partial(reference.losses, change=changes[number], later=changes[number + 1 :])
        for number, (family, _) in enumerate(wanted)
    }


def _ranked(model: Model, importance: Importance, family: Family, evidence: Evidence, losses: Losses | None) -> Ranking:
    known = importance if importance.judges(evidence) else CRITERIA["l2"]
    order, readers = evidence.atoms[known.order(evidence)], evidence.readers
    gone = np.cumsum([_gone(maker, order) for maker in evidence.makers], axis=1)
    if losses is None:
        harm = (np.maximum(1 - gone, TINY) ** -2 - 1).sum(axis=0)
        return Ranking(order, _rising(np.concatenate([[0.0], harm])))
    lost = np.sum([reader.lost(order) for reader in readers], axis=0) if readers else np.append(0.0, gone.sum(axis=0))
    place = _probe(family, order)
    scale = 1.0
    if place:
        _, loss = ablated(model, family.group, readers, order[:place], losses)
        scale = loss / max(float(lost[place]), LEAST)
    return Ranking(order, _rising(scale * lost))


def _rising(harm: Array) -> Array:
    """From 0 on, never falling; the most where it cannot be told, as weights are not finite."""
    return np.maximum.accumulate(np.concatenate([[0.0], np.nan_to_num(harm[1:], nan=MOST, posinf=MOST)]))


def _probe(family: Family, order: Array) -> int:
    """How many atoms are removed to measure: half of the family, less where some axis would lose all; 0 for none."""
    most = min(max(round(PROBE * len(family.atoms)), 1), len(order))
    places = (k for k in range(most, 0, -1) if leaves_some(family.group, order[:k]))
    return next(places, 0)


def _gone(maker: Maker, order: Array) -> Array:
    return np.bincount(maker.atoms, maker.shares, int(max(maker.atoms.max(), order.max())) + 1)[order]
