"""Images as a graph reads them: decoded by Pillow, kept as bytes, made numbers when they are read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxprune.data.arrays import shown
from onnxprune.data.columns import Column, Indices
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError, first_line
from onnxprune.node import Array, Dim, Tensor
from onnxprune.options import Size

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Canvas"]

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
BGR = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}
EXAMPLES = "scale=1 (0 to 1), scale=255 (0 to 255), or mean=0.485,0.456,0.406,std=0.229,0.224,0.225 (ImageNet)"


@dataclass(frozen=True)
class Canvas:
    """What the images of one graph input are like; raises UsageError where preprocessing and graph do not match."""

    how: Preprocess
    size: Size
    channels: int
    layout: str
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, where: str, tensor: Tensor, how: Preprocess | None) -> Canvas:
        """What ``how`` says of the graph input ``tensor``, and the graph of all that it leaves open."""
        refuse = _Refusal(where, tensor)
        dtype = _numbers(refuse, tensor.dtype, how)
        how = how or Preprocess()
        axes = _axes(refuse, tensor)
        layout = how.layout or _layout(refuse, axes)
        height, width, channels = axes[1:] + axes[:1] if layout == "nchw" else axes
        if isinstance(channels, int) and channels not in MODES:
            raise refuse(
                f"with layout={layout} that is {channels} channels, and images have 1, 3 or 4",
                f"layout={'nhwc' if layout == 'nchw' else 'nchw'}",
            )
        count = channels if isinstance(channels, int) else 3
        for name, values in (("mean", how.mean), ("std", how.std)):
            if len(values) not in (0, 1, count):
                raise refuse(f"{name} has {len(values)} values for {count} channels", f"{name} of {count} values or 1")
        return cls(how, _size(refuse, how, height, width), count, layout, dtype)

    def pixels(self, path: Path) -> Array:
        """One image as bytes, [1, …] in the layout of the graph; raises UsageError for what is no sound image."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pixels = self._pixels(path)
        except UsageError:
            raise
        except Exception as error:  # Pillow raises whatever its many formats do
            way_out = "repair it, or take it out of the folder"
            raise UsageError(f"'{path}': no image that can be read ({first_line(error)}); {way_out}") from error
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.layout == "nchw" else pixels)[None]

    def _pixels(self, path: Path) -> Array:
        from PIL import Image, ImageOps

        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):
            way_out = "save it with 8 bits, or give the values as .npy"
            raise UsageError(f"'{path}': its pixels have more than 8 bits ({image.mode}); {way_out}")
        if image.has_transparency_data:
            image = image.convert("RGBA")
        image = _fitted(image.convert(MODES[self.channels]), self.how, self.size)
        pixels = np.asarray(image).reshape(self.size.height, self.size.width, self.channels)
        return pixels[:, :, BGR[self.channels]] if self.how.order == "bgr" else pixels

    def numbers(self, pixels: Column) -> Column:
        """The column of what the graph reads."""
        if self.dtype.kind != "f":
            return _Cast(pixels, self.dtype)
        wide = np.promote_types(self.dtype, np.float32)
        shape = (self.channels, 1, 1) if self.layout == "nchw" else (self.channels,)
        mean, std = (
            np.broadcast_to(np.asarray(values or (default,), wide), self.channels).reshape(shape)
            for values, default in ((self.how.mean, 0), (self.how.std, 1))
        )
        return _Scaled(pixels, self.dtype, wide.type(255 / self.how.scale), mean, std)


@dataclass(frozen=True, eq=False)
class _Cast:
    """A column of pixels as they are, in another type."""

    pixels: Column
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def __getitem__(self, samples: Indices, /) -> Array:
        return self.pixels[samples].astype(self.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class _Scaled(_Cast):
    """A column of (pixel / white - mean) / std, computed in the type of ``mean``."""

    white: np.floating[Any]
    mean: Array
    std: Array

    def __getitem__(self, samples: Indices, /) -> Array:
        numbers = self.pixels[samples].astype(self.mean.dtype)
        numbers /= self.white
        numbers -= self.mean
        numbers /= self.std
        return numbers.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class _Refusal:
    """Makes the error for a graph input that images do not fit."""

    where: str
    tensor: Tensor

    def __call__(self, why: str, proposal: str = "") -> UsageError:
        reads = f"'{self.tensor.name}' is {shown(self.tensor.shape)}"
        way_out = f"give --preprocess {proposal}" if proposal else "give the samples as .npy or .npz"
        return UsageError(f"{self.where}: images do not fit the graph input: {reads}; {why}; {way_out}")


def _numbers(refuse: _Refusal, dtype: np.dtype[Any] | None, how: Preprocess | None) -> np.dtype[Any]:
    """The type of the graph input, once it is found to hold pixels."""
    if dtype is None or not np.issubdtype(dtype, np.number) or dtype == np.int8:
        raise refuse(f"it holds {'no tensor' if dtype is None else dtype.name}")
    if dtype.kind == "f" and how is None:
        raise refuse(f"how pixels of 0 to 255 become {dtype.name} is not known", EXAMPLES)
    if dtype.kind in "iu" and how is not None and (how.mean or how.std or how.scale not in (1, 255)):
        raise refuse(f"it reads pixels as they are ({dtype.name})", "without mean, std and scale, or none at all")
    return dtype


def _axes(refuse: _Refusal, tensor: Tensor) -> tuple[Dim, Dim, Dim]:
    """The three axes of one image; a fourth before them is the batch."""
    if tensor.shape is None or len(tensor.shape) not in (3, 4):
        raise refuse("images take height, width and channels")
    first, second, third = tensor.shape[-3:]
    return first, second, third


def _layout(refuse: _Refusal, axes: tuple[Dim, Dim, Dim]) -> str:
    for counts in ((1, 3), (4,)):
        fits = [layout for layout, dim in (("nchw", axes[0]), ("nhwc", axes[2])) if dim in counts]
        if len(fits) == 1:
            return fits[0]
    raise refuse("which axis holds the channels cannot be told", "layout=nchw, or layout=nhwc")


def _size(refuse: _Refusal, how: Preprocess, height: Dim, width: Dim) -> Size:
    fixed = [side if isinstance(side, int) else None for side in (height, width)]
    size = how.size or (Size(*fixed) if None not in fixed else None)  # type: ignore[arg-type]
    if size is None:
        raise refuse("the size is open", "size=224, or size=HEIGHTxWIDTH")
    if any(side not in (None, own) for side, own in zip(fixed, (size.height, size.width), strict=True)):
        wanted = "x".join(str(side or own) for side, own in zip(fixed, (size.height, size.width), strict=True))
        raise refuse(f"images of {size.height}x{size.width} are too large or small", f"size={wanted}")
    if how.resize is not None and how.resize < max(size.height, size.width):
        raise refuse(f"resize={how.resize} leaves less than {size}", f"resize={max(size.height, size.width)} or more")
    return size


def _fitted(image: Image, how: Preprocess, size: Size) -> Image:
    """The image in that size. With ``resize`` as torchvision does it: Resize(resize), then CenterCrop(size)."""
    from PIL import Image, ImageOps

    method, box = Image.Resampling[how.filter.upper()], (size.width, size.height)
    if how.fit == "stretch":
        return image.resize(box, method)
    if how.fit == "pad":
        return ImageOps.pad(image, box, method)
    if how.resize is None:
        return ImageOps.fit(image, box, method)
    short = min(image.size)
    whole = image.resize((how.resize * image.width // short, how.resize * image.height // short), method)
    left, top = (round((have - want) / 2) for have, want in zip(whole.size, box, strict=True))
    return whole.crop((left, top, left + size.width, top + size.height))
