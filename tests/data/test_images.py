"""Images: which numbers of which pixel reach the graph, and what is refused, with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageOps

from onnxprune.calibrate import Calibration
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError
from onnxprune.model import Model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def graph(kind: str) -> Model:
    """A graph that passes on an input such as ``float[N,3,8,8]``."""
    shape = kind[kind.index("[") :]
    text = f'<ir_version: 9, opset_import: ["" : 17]> net ({kind} x) => ({kind[: -len(shape)]}{shape} y)'
    return Model(onnx.parser.parse_model(text + " { y = Identity(x) }"))


def picture(height: int = 8, width: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., np.ndarray]:
    """What a graph is fed of one image."""

    def call(
        image: np.ndarray | Image.Image, kind: str, how: str | None = None, name: str = "a.png", **save
    ) -> np.ndarray:
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(tmp_path / name, **save)
        data = Calibration.load(tmp_path, graph(kind), preprocess=None if how is None else Preprocess.of(how))
        assert data.count == 1
        return next(data.batches())["x"]

    return call


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("scale=1", lambda p: p / 255),
        ("scale=255", lambda p: p * 1.0),
        ("mean=0.5,std=0.5", lambda p: (p / 255 - 0.5) / 0.5),
        ("scale=255,mean=128,std=128", lambda p: (p - 128.0) / 128),
        ("mean=0.485,0.456,0.406,std=0.229,0.224,0.225", lambda p: (p / 255 - MEAN) / STD),
        ("scale=1,order=bgr,mean=0.1,0.2,0.3", lambda p: p[:, :, ::-1] / 255 - (0.1, 0.2, 0.3)),
    ],
)
def test_pixels_become_numbers_in_either_layout(read: Callable[..., np.ndarray], how: str, expected: Callable) -> None:
    pixels = picture()
    wanted = expected(pixels.astype(np.float64))
    np.testing.assert_allclose(read(pixels, "float[N,8,8,3]", how)[0], wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(read(pixels, "float[N,3,8,8]", how)[0], wanted.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "dtype"), [("float16", np.float16), ("double", np.float64)])
def test_numbers_have_the_type_of_the_graph(read: Callable[..., np.ndarray], kind: str, dtype: type) -> None:
    found = read(picture(), f"{kind}[N,8,8,3]", "mean=0.5,std=0.25")
    assert found.dtype == dtype
    wanted = (picture().astype(np.float64) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3 if dtype == np.float16 else 1e-15, atol=1e-3)


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64", "uint16"])
def test_a_graph_of_integers_gets_pixels_as_they_are(read: Callable[..., np.ndarray], kind: str) -> None:
    found = read(picture(), f"{kind}[N,8,8,3]")
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found[0], picture())


def test_an_image_without_batch_axis_is_fed_as_it_is(read: Callable[..., np.ndarray]) -> None:
    np.testing.assert_array_equal(read(picture(), "uint8[8,8,3]"), picture())


# -- channels --------------------------------------------------------------------------------------------------------


def test_the_graph_says_how_many_channels_an_image_has(read: Callable[..., np.ndarray]) -> None:
    grey, colour, clear = (picture(channels=channels) for channels in (1, 3, 4))
    np.testing.assert_array_equal(read(grey, "uint8[N,1,8,8]")[0, 0], grey)
    np.testing.assert_array_equal(read(grey, "uint8[N,8,8,3]")[0], np.dstack([grey] * 3))
    np.testing.assert_array_equal(
        read(colour, "uint8[N,8,8,1]")[0, :, :, 0], np.asarray(Image.fromarray(colour).convert("L"))
    )
    np.testing.assert_array_equal(read(clear, "uint8[N,8,8,3]")[0], clear[:, :, :3])
    np.testing.assert_array_equal(read(clear, "uint8[N,8,8,4]")[0], clear)
    np.testing.assert_array_equal(read(clear, "uint8[N,8,8,4]", "order=bgr")[0], clear[:, :, [2, 1, 0, 3]])
    np.testing.assert_array_equal(
        read(colour, "uint8[N,8,8,4]")[0], np.dstack([colour, np.full((8, 8), 255, np.uint8)])
    )


def test_palettes_and_bits_are_read_as_what_they_show(read: Callable[..., np.ndarray]) -> None:
    palette = Image.fromarray(picture()).convert("P")
    np.testing.assert_array_equal(read(palette, "uint8[N,8,8,3]")[0], np.asarray(palette.convert("RGB")))
    clear = Image.fromarray(picture()).convert("P")
    read(clear, "uint8[N,8,8,3]", transparency=bytes(range(256)))
    bits = Image.fromarray(picture(channels=1)).convert("1")
    assert set(np.unique(read(bits, "uint8[N,1,8,8]"))) == {0, 255}


def test_a_photograph_stands_upright(read: Callable[..., np.ndarray]) -> None:
    image, exif = Image.fromarray(picture(8, 6)), Image.Exif()
    exif[0x0112] = 6  # lies on its side
    found = read(image, "uint8[N,6,8,3]", exif=exif)
    np.testing.assert_array_equal(found[0], np.rot90(picture(8, 6), -1))


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_an_image_is_fitted_as_said(read: Callable[..., np.ndarray]) -> None:
    image = Image.fromarray(picture(20, 40))
    plain, box = Image.Resampling.BILINEAR, (8, 8)
    cases = {
        "fit=crop": ImageOps.fit(image, box, plain),
        "fit=stretch": image.resize(box, plain),
        "fit=pad": ImageOps.pad(image, box, plain),
        "filter=bicubic": ImageOps.fit(image, box, Image.Resampling.BICUBIC),
        "resize=10": image.resize((20, 10), plain).crop((6, 1, 14, 9)),  # torchvision: Resize(10), CenterCrop(8)
    }
    found = {how: read(image, "uint8[N,8,8,3]", how)[0] for how in cases}
    for how, wanted in cases.items():
        np.testing.assert_array_equal(found[how], np.asarray(wanted), how)
    assert len({value.tobytes() for value in found.values()}) == len(cases)
    np.testing.assert_array_equal(read(image, "uint8[N,8,8,3]")[0], found["fit=crop"])


def test_the_size_comes_from_the_graph_or_else_from_preprocess(read: Callable[..., np.ndarray]) -> None:
    assert read(picture(9, 9), "uint8[N,3,5,7]").shape == (1, 3, 5, 7)
    assert read(picture(9, 9), "uint8[N,3,H,W]", "size=5x7").shape == (1, 3, 5, 7)
    assert read(picture(9, 9), "uint8[N,H,W,C]", "size=6,layout=nhwc").shape == (1, 6, 6, 3)


def test_the_size_may_come_from_shape(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    data = Calibration.load(tmp_path, graph("uint8[N,3,H,W]"), shapes={"x": (1, 3, 5, 7)})
    assert (next(data.batches())["x"].shape, data.batch) == ((1, 3, 5, 7), None)


# -- refusing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how", "message"),
    [
        ("float[N,3,8,8]", None, "how pixels of 0 to 255 become float32 is not known; give --preprocess scale=1 "),
        (
            "uint8[N,3,8,8]",
            "mean=0.5",
            "reads pixels as they are .uint8.; give --preprocess without mean, std and scale",
        ),
        ("int8[N,3,8,8]", None, "it holds int8; give the samples as .npy or .npz"),
        ("bool[N,3,8,8]", None, "it holds bool; give the samples as .npy"),
        ("string[N,3,8,8]", None, "it holds object; give the samples as .npy"),
        ("float[N,64]", "scale=1", "images take height, width and channels; give the samples as .npy"),
        ("float[N,5,8,8]", "scale=1", "which axis holds the channels cannot be told; give --preprocess layout=nchw"),
        ("float[N,3,8,3]", "scale=1", "which axis holds the channels cannot be told; give --preprocess layout="),
        ("float[N,C,H,W]", "scale=1,size=8", "which axis holds the channels cannot be told"),
        (
            "float[N,3,8,8]",
            "scale=1,layout=nhwc",
            "with layout=nhwc that is 8 channels.*; give --preprocess layout=nchw",
        ),
        ("float[N,3,H,W]", "scale=1", "the size is open; give --preprocess size=224, or size=HEIGHTxWIDTH"),
        ("float[N,3,8,8]", "scale=1,size=224", "images of 224x224 are too large or small; give --preprocess size=8x8"),
        ("float[N,3,8,W]", "scale=1,size=9x7", "give --preprocess size=8x7"),
        ("float[N,3,8,8]", "mean=1,2", "mean has 2 values for 3 channels; give --preprocess mean of 3 values or 1"),
        ("float[N,1,8,8]", "std=1,2,3", "std has 3 values for 1 channels"),
        ("float[N,3,8,8]", "scale=1,resize=7", "resize=7 leaves less than 8; give --preprocess resize=8 or more"),
    ],
)
def test_what_images_do_not_fit_proposes_what_does(
    read: Callable[..., np.ndarray], kind: str, how: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=f"images do not fit the graph input: 'x' is .*{message}"):
        read(picture(), kind, how)


def whole(path: Path) -> bytes:
    Image.fromarray(picture(64, 64)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [lambda p: b"", lambda p: b"no image", lambda p: whole(p)[:900], lambda p: whole(p)[:-300] + bytes(300)],
    ids=["empty", "text", "cut off", "damaged"],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "gif", "webp"])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str, content: Callable[[Path], bytes]) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    path = tmp_path / f"b.{suffix}"
    path.write_bytes(content(path))
    try:
        data = Calibration.load(tmp_path, graph("uint8[N,3,8,8]"))
    except UsageError as error:
        told = str(error)
    else:
        assert data.count == 2
        assert suffix != "png"  # the others have no checksum
        return
    assert told.startswith(f"'{path}': no image that can be read (")
    assert told.endswith("; repair it, or take it out of the folder")


def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UsageError, match=r"deep.png': its pixels have more than 8 bits .*; save it with 8 bits, or"):
        Calibration.load(tmp_path, graph("uint8[N,1,8,8]"))


def test_an_image_of_absurd_size_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"bomb.png': no image that can be read .*decompression bomb"):
        Calibration.load(tmp_path, graph("uint8[N,1,8,8]"))
