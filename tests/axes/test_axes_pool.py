"""What is known of the axes of pools and reductions."""

from __future__ import annotations

import pytest
from cuts import group, removal, why
from oracle import net

from onnxprune.axes.facts import Approximate, Pin, Tie
from onnxprune.axes.families.pool import REDUCTIONS, pool, reduction
from onnxprune.node import Axis


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "LpPool"])
def test_batch_and_channels_pass_a_pool(op: str) -> None:
    text = f"(float[2,3,8,8] x) => (float[2,3,7,7] y) {{ y = {op}<kernel_shape=[2,2]>(x) }}"
    assert list(pool(net(text).nodes[0])) == [
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("x", 1), Axis("y", 1)),
        *(Pin(Axis(name, d), "spatial: pooled") for name in "xy" for d in (2, 3)),
    ]


def test_indices_of_a_pool_count_over_all_channels_and_pin_them() -> None:
    model = net("""(float[1,2,8,8] x) => (float[1,2,7,7] y, int64[1,4,7,7] i) <float[4,2,1,1] w, float[2,4,1,1] v>
        { a = Conv(x, w)  p, i = MaxPool<kernel_shape=[2,2]>(a)  y = Conv(p, v) }""")
    assert why(model, "w[0]") == "MaxPool 'MaxPool_1': its second output counts elements across all channels"


CHAIN = """(float[N,2,8,8] x) => (float[N,2,H,W] y) <float[4,2,1,1] w, float[2,4,1,1] v>
    {{ a = Conv(x, w)  {}  y = Conv(p, v) }}"""


@pytest.mark.parametrize(
    "pooled",
    [
        "p = GlobalAveragePool(a)",
        "p = GlobalMaxPool(a)",
        "p = GlobalLpPool(a)",
        "p = ReduceMean<axes=[2,3]>(a)",
        "p = ReduceMax<axes=[-1,-2]>(a)",
        "p = ReduceL2<axes=[3]>(a)",
        "p = AveragePool<kernel_shape=[3,3], ceil_mode=1>(a)",
    ],
)
def test_channels_pass_what_pools_or_reduces_pixels(pooled: str) -> None:
    assert removal(net(CHAIN.format(pooled)), "w[0]", 3) == {"v[1]": [3], "w[0]": [3]}


@pytest.mark.parametrize("op", REDUCTIONS)
def test_every_reduction_over_channels_changes_with_every_channel(op: str) -> None:
    model = net(
        f"""(float[N,2,8,8] x) => (float[N,1,8,8] y) <float[4,2,1,1] w, int64[1] axes = {{1}}>
        {{ a = Conv(x, w)  y = {op}(a, axes) }}""",
        opset=18,
    )
    found = group(model, "w[0]")
    assert not found.pinned
    assert [found.approximate[atom].why for atom in range(4)] == [f"reduced by {op} '{op}_1'"] * 4


def facts(reduce: str, shape: str, opset: int = 17) -> list[object]:
    """Of one reduction of x (2×3×4) to y."""
    settings = "<int64[1] axes = {-2}, int64[0] none = {}>"
    result = f"float[{shape}] y" if shape else "float y"
    return list(reduction(net(f"(float[2,3,4] x) => ({result}) {settings} {{ y = {reduce} }}", opset).nodes[0]))


def over(*dims: int) -> list[Approximate]:
    return [Approximate(Axis("x", d), "reduced by ReduceSum 'ReduceSum_0'") for d in dims]


def test_axes_move_up_where_reduced_ones_are_dropped() -> None:
    expected = [*over(1), Tie(Axis("x", 0), Axis("y", 0)), Tie(Axis("x", 2), Axis("y", 1))]
    assert facts("ReduceSum<keepdims=0>(x, axes)", "2,4") == expected
    assert facts("ReduceSum<keepdims=0, axes=[1]>(x)", "2,4", opset=11) == expected


def test_axes_stay_where_reduced_ones_are_kept() -> None:
    assert facts("ReduceSum(x, axes)", "2,1,4") == [
        *over(1),
        Tie(Axis("x", 0), Axis("y", 0)),
        Pin(Axis("y", 1), "reduced by ReduceSum 'ReduceSum_0'"),
        Tie(Axis("x", 2), Axis("y", 2)),
    ]


def test_without_axes_all_are_reduced_unless_that_means_none() -> None:
    assert facts("ReduceSum<keepdims=0>(x)", "") == over(0, 1, 2)
    assert facts("ReduceSum<keepdims=0>(x, none)", "") == over(0, 1, 2)
    ties = [Tie(Axis("x", d), Axis("y", d)) for d in range(3)]
    assert facts("ReduceSum<noop_with_empty_axes=1>(x)", "2,3,4") == ties


def test_axes_known_at_run_time_only_pin() -> None:
    model = net("""(float[1,2,8,8] x, int64[1] axes) => (float[1,2,8,8] y) <float[4,2,1,1] w, float[2,4,1,1] v>
        { a = Conv(x, w)  p = ReduceSum(a, axes)  y = Conv(p, v) }""")
    assert (why(model, "w[0]") or "").startswith("ReduceSum 'ReduceSum_1'")


def test_a_mean_that_drops_its_axes_leads_to_a_dense_layer() -> None:
    model = net("""(float[N,2,8,8] x) => (float[N,2] y) <float[4,2,1,1] w, float[4,2] v>
        { a = Conv(x, w)  p = ReduceMean<axes=[2,3], keepdims=0>(a)  y = MatMul(p, v) }""")
    assert removal(model, "w[0]", 3) == {"v[0]": [3], "w[0]": [3]}
