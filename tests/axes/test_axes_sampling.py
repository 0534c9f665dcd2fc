"""What is known of the axes of operators that read an image at other places."""

from __future__ import annotations

import pytest
from cuts import cut_at, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.model import Model

BETWEEN = """(float[1,2,4,4] x{}) => (float[1,2,H,W] y) <float[6,2,1,1] w, float[2,{},1,1] v{}>
    {{ a = Conv(x, w)  {}  y = Conv(r, v) }}"""


def between(how: str, settings: str = "", inputs: str = "", channels: int = 6) -> Model:
    """An operator between two convolutions."""
    return net(BETWEEN.format(inputs, channels, settings, how), opset=18)


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        ("r = Resize<mode=\"linear\">(a, , s)", ", float[4] s = {1, 1, 2, 2}"),
        ("r = Resize<mode=\"cubic\">(a, , , n)", ", int64[4] n = {1, 6, 7, 9}"),
        ("r = Resize<axes=[2, 3]>(a, , , n)", ", int64[2] n = {7, 9}"),
        ("r = Resize<axes=[3, 1]>(a, , , n)", ", int64[2] n = {9, 6}"),
        (
            "s = Shape<end=2>(a)  n = Concat<axis=0>(s, hw)  r = Resize<mode=\"linear\">(a, , , n)",
            ", int64[2] hw = {7, 9}",
        ),
        ("g = Clip(grid, lo, hi)  r = GridSample(a, g)", ", float[1,3,5,2] grid, float lo = {-1}, float hi = {1}"),
        (
            "r = RoiAlign<output_height=2, output_width=2>(a, rois, batch)",
            ", float[1,4] rois = {0, 0, 3, 3}, int64[1] batch = {0}",
        ),
    ],
)  # fmt: skip
def test_channels_are_read_one_by_one_wherever_the_pixels_are(how: str, settings: str) -> None:
    model = between(how, settings)
    assert removal(model, "w[0]", 1, 4) == {"w[0]": [1, 4], "v[1]": [1, 4]}
    after, spec = cut_at(model, "w[0]", 1, 4)
    assert_same_function(after, silenced(model, spec))


@pytest.mark.parametrize(
    ("how", "settings", "channels"),
    [
        ("r = Resize(a, , s)", ", float[4] s = {1, 2, 1, 1}", 12),
        ("r = Resize(a, , s)", ", float[4] s = {1, 1.1, 1, 1}", 6),
        ("r = Resize(a, , , n)", ", int64[4] n = {1, 12, 7, 9}", 12),
    ],
)
def test_channels_that_are_interpolated_stay_even_where_their_count_does(
    how: str, settings: str, channels: int
) -> None:
    assert why(between(how, settings, channels=channels), "w[0]") == "interpolated by Resize 'Resize_1'"


def test_an_image_of_columns_loses_as_many_rows_as_a_block_has() -> None:
    model = net(
        """(float[1,2,9] x) => (float[1,2,4,4] y)
        <float[12,2] w, float[2,3,1,1] v, int64[2] i = {4, 4}, int64[2] k = {2, 2}>
        { a = MatMul(w, x)  c = Col2Im(a, i, k)  y = Conv(c, v) }""",
        opset=18,
    )
    assert removal(model, "v[1]", 1) == {"v[1]": [1], "w[0]": [4, 5, 6, 7]}
