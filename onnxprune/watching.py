"""What a criterion watches: the sums of a statistic over feature maps, a network being run once for all of them.

Memory does not grow with the number of samples: of every tensor, all that is kept is the statistic of each channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.axes.groups import Group
from onnxprune.axes.linear import Linear
from onnxprune.calibrate import Calibration
from onnxprune.importance import Seen, Watch
from onnxprune.importance.maps import spread_of
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Tensor
from onnxprune.stepwise import Stepwise

__all__ = ["Scene", "gain_of", "look"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A group, the layers that make channels of it, and those that read them."""

    group: Group
    makers: Sequence[Linear]
    readers: Sequence[Linear]


def look(model: Model, watch: Watch, scenes: Sequence[Scene], data: Calibration | None) -> Iterator[list[Seen]]:
    """What is to be seen in each scene; nothing of a tensor that is not finite.

    γ of a BatchNormalization stands for the values of what it makes. All else takes data.
    """
    gains = [_gains(model, scene) if watch.of == "made" else {} for scene in scenes]
    asked = [_axes(model, watch, scene) - known.keys() for scene, known in zip(scenes, gains, strict=True)]
    runs = Stepwise(data) if data else None
    for number, scene in enumerate(scenes):
        later = sorted({axis.tensor for axes in asked[number + 1 :] for axis in axes})
        sums = _summed(model, watch, runs, sorted(asked[number]), later) if runs else {}
        found = {**gains[number], **sums}
        yield [Seen(scene.group.atoms[axis], each) for axis, each in found.items() if np.isfinite(each).all()]


def _summed(
    model: Model, watch: Watch, runs: Stepwise, axes: Sequence[Axis], later: Sequence[str]
) -> dict[Axis, Array]:
    sums = {axis: np.zeros(1) for axis in axes}
    for given in runs.batches(model, [axis.tensor for axis in axes], later) if axes else ():
        for axis in axes:
            maps = given[axis.tensor]
            maps = np.moveaxis(maps, axis.dim, 1) if axis.dim else maps[None]  # without an axis of samples
            sums[axis] = sums[axis] + (watch.statistic(maps) if np.isfinite(maps).all() else np.nan)
    return sums


def _axes(model: Model, watch: Watch, scene: Scene) -> set[Axis]:
    if watch.of == "read":
        return {_with_places(scene.group, model, view) for view in scene.readers}
    return {axis for view in scene.makers for axis in _made(view, scene.group)}


def _made(view: Linear, group: Group) -> list[Axis]:
    return [axis for axis in view.y.axes()[view.y_channel :][:1] if axis in group.atoms]


def _gains(model: Model, scene: Scene) -> Mapping[Axis, Array]:
    known = ((view, gain) for view in scene.makers if (gain := gain_of(model, view)) is not None)
    return {axis: spread_of(gain) for view, gain in known for axis in _made(view, scene.group)}


def gain_of(model: Model, view: Linear) -> Array | None:
    """|γ| of the BatchNormalization that alone reads what a layer makes, [channels]; None where there is none."""
    readers = model.consumers(view.y.name)
    if len(readers) != 1 or readers[0].kind != "BatchNormalization" or model.is_output(view.y.name):
        return None
    scale = readers[0].x(1)
    return np.abs(scale.value().astype(np.float64)) if scale.constant else None


def _with_places(group: Group, model: Model, view: Linear) -> Axis:
    """The channels that a layer reads, in the last tensor where each has more than one place, if there is any."""
    read = here = view.x.axes()[view.x_channel]
    while not _places(model.tensor(here.tensor), here.dim):
        node = model.producer(here.tensor)
        before = [a for t in node.inputs if t is not None and not t.fixed for a in t.axes()] if node else []
        if (found := next(filter(group.atoms.__contains__, before), None)) is None:
            return read
        here = found
    return here


def _places(tensor: Tensor, channel: int) -> bool:
    return any(size != 1 for dim, size in enumerate(tensor.shape or ()) if dim not in (0, channel))
