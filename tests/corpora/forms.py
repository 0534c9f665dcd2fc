"""How operators are written in the opsets from 7 to 26: where the form changed, a new one begins.

Each turns the channels ``a``, float[2,4,6,6], into ``z``, between two convolutions.
"""

from __future__ import annotations

FIRST, LAST = 7, 26
COLUMNS = {"Concat": 8}  # of the second kernel, where they are not 4

SCALES = "float[4] scales = {%s}"
ROI = "float[0] roi"
ASYMMETRIC = 'coordinate_transformation_mode="asymmetric"'


def resized(scales: str, mode: str = "nearest", since_11: str = "") -> dict[int, tuple[str, str]]:
    """Upsample, or Resize, which since opset 11 takes further attributes; Upsample cannot make smaller."""
    held, mode = SCALES % scales, f'mode="{mode}"'
    upsample = {7: ("", f"z = Upsample<{mode}, scales=[{scales}]>(a)"), 9: (held, f"z = Upsample<{mode}>(a, scales)")}
    return {
        **({} if "0." in scales.replace(".0", "") else upsample),
        10: (held, f"z = Resize<{mode}>(a, scales)"),
        11: (f"{held}, {ROI}", f"z = Resize<{mode}{since_11}>(a, roi, scales)"),
        13: (held, f"z = Resize<{mode}{since_11}>(a, , scales)"),
    }


def reduced(op: str, inputs: int = 18) -> dict[int, tuple[str, str]]:
    """A reduction, whose axes become an input in one opset or another."""
    return {7: ("", f"z = {op}<axes=[2,3]>(a)"), inputs: ("int64[2] axes = {2,3}", f"z = {op}(a, axes)")}


def plain(op: str, since: int = FIRST) -> dict[int, tuple[str, str]]:
    """An operator of one input that is written alike in all opsets."""
    return {since: ("", f"z = {op}(a)")}


NORM = "float[4] scale, float[4] b, float[4] mean, float[4] var"
HALVES = "d = Tanh(b)  z = Concat<axis=1>(c, d)"

FORMS: dict[str, dict[int, tuple[str, str]]] = {
    "Conv": {7: ("float[4,4,3,3] k, float[4] b", "z = Conv<pads=[1,1,1,1]>(a, k, b)")},
    "Conv, depthwise": {7: ("float[4,1,3,3] k", 'z = Conv<group=4, auto_pad="SAME_LOWER">(a, k)')},
    "ConvTranspose": {7: ("float[4,4,2,2] k", "z = ConvTranspose<strides=[2,2]>(a, k)")},
    "Gemm": {
        7: (
            "int64[4] t = {-1,4,6,6}, float[144,144] m, float[144] b",
            "f = Flatten(a)  g = Gemm(f, m, b)  z = Reshape(g, t)",
        )
    },
    "MatMul": {7: ("float[6,6] m", "z = MatMul(a, m)")},
    "BatchNormalization": {
        7: (NORM, "z = BatchNormalization<spatial=1>(a, scale, b, mean, var)"),
        9: (NORM, "z = BatchNormalization<epsilon=0.1>(a, scale, b, mean, var)"),
    },
    "InstanceNormalization": {7: ("float[4] scale, float[4] b", "z = InstanceNormalization(a, scale, b)")},
    "LRN": {7: ("", "z = LRN<size=3>(a)")},
    "MeanVarianceNormalization": plain("MeanVarianceNormalization", 9),
    "LayerNormalization": {17: ("float[6] scale, float[6] b", "z = LayerNormalization(a, scale, b)")},
    "GroupNormalization": {
        21: ("float[4] scale, float[4] b", "z = GroupNormalization<num_groups=2>(a, scale, b)"),
    },
    "MaxPool": {
        7: ("", "z = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)"),
        10: ("", "z = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(a)"),
    },
    "AveragePool": {7: ("", "z = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(a)")},
    "LpPool": {7: ("", "z = LpPool<kernel_shape=[2,2]>(a)")},
    "GlobalAveragePool": plain("GlobalAveragePool"),
    "GlobalMaxPool": plain("GlobalMaxPool"),
    "Relu": plain("Relu"),
    "LeakyRelu": plain("LeakyRelu"),
    "Elu": plain("Elu"),
    "Selu": plain("Selu"),
    "Sigmoid": plain("Sigmoid"),
    "HardSigmoid": plain("HardSigmoid"),
    "HardSwish": plain("HardSwish", 14),
    "Softplus": plain("Softplus"),
    "Erf": plain("Erf", 9),
    "Gelu": plain("Gelu", 20),
    "PRelu": {7: ("float[4,1,1] slope", "z = PRelu(a, slope)")},
    "Identity": plain("Identity"),
    "Clip": {
        7: ("", "z = Clip<min=-0.25, max=0.5>(a)"),
        11: ("float lo = {-0.25}, float hi = {0.5}", "z = Clip(a, lo, hi)"),
    },
    "Clip from above": {7: ("", "z = Clip<max=0.5>(a)"), 11: ("float hi = {0.5}", "z = Clip(a, , hi)")},
    "Clip not at all": plain("Clip"),
    "Dropout": {7: ("", "z = Dropout<ratio=0.3>(a)"), 12: ("float r = {0.3}", "z = Dropout(a, r)")},
    "Dropout with its mask": {
        7: ("float none = {0}", "b, m = Dropout(a)  n = Mul(m, none)  z = Add(b, n)"),
        10: ("float none = {0}", "b, m = Dropout(a)  c = Cast<to=1>(m)  n = Mul(c, none)  z = Add(b, n)"),
    },
    "Pad": {
        7: ("", "z = Pad<pads=[0,0,1,1,0,0,2,1], value=0.5>(a)"),
        11: ("int64[8] p = {0,0,1,1,0,0,2,1}, float c = {0.5}", "z = Pad(a, p, c)"),
    },
    "Pad, reflecting": {
        7: ("", 'z = Pad<mode="reflect", pads=[0,0,1,1,0,0,1,1]>(a)'),
        11: ("int64[8] p = {0,0,1,1,0,0,1,1}", 'z = Pad<mode="reflect">(a, p)'),
    },
    "Pad of double": {
        7: ("", "b = Cast<to=11>(a)  c = Pad<pads=[0,0,1,1,0,0,2,1], value=0.5>(b)  z = Cast<to=1>(c)"),
        11: (
            "int64[8] p = {0,0,1,1,0,0,2,1}, double e = {0.5}",
            "b = Cast<to=11>(a)  c = Pad(b, p, e)  z = Cast<to=1>(c)",
        ),
    },
    "Resize": resized("1.0, 1.0, 2.0, 2.0", since_11=f', {ASYMMETRIC}, nearest_mode="floor"'),
    "Resize by a fraction": resized("1.0, 1.0, 1.5, 2.5"),
    "Resize, linear": resized("1.0, 1.0, 2.0, 3.0", "linear"),
    "Resize to less": resized("1.0, 1.0, 0.34, 0.5"),
    "Resize to less, linear": resized("1.0, 1.0, 0.34, 0.5", "linear"),
    "Concat": {7: ("", "b = Tanh(a)  z = Concat<axis=1>(a, b)")},
    "Split": {
        7: ("", f"b, c = Split<axis=1, split=[1,3]>(a)  {HALVES}"),
        13: ("int64[2] s = {1,3}", f"b, c = Split<axis=1>(a, s)  {HALVES}"),
    },
    "Split evenly": {
        7: ("", f"b, c = Split<axis=1>(a)  {HALVES}"),
        18: ("", f"b, c = Split<axis=1, num_outputs=2>(a)  {HALVES}"),
    },
    "Slice": {
        7: ("", "z = Slice<axes=[2,3], starts=[1,0], ends=[6,-1]>(a)"),
        10: ("int64[2] s = {1,0}, int64[2] e = {6,-1}, int64[2] axes = {2,3}", "z = Slice(a, s, e, axes)"),
    },
    "Gather": {7: ("int64[4] i = {3,1,0,2}", "z = Gather<axis=1>(a, i)")},
    "Transpose": {7: ("", "b = Transpose<perm=[0,2,3,1]>(a)  c = Relu(b)  z = Transpose<perm=[0,3,1,2]>(c)")},
    "Reshape": {7: ("int64[3] s = {0,4,-1}, int64[4] t = {0,0,6,6}", "b = Reshape(a, s)  z = Reshape(b, t)")},
    "Reshape, computed": {7: ("int64[3] s = {0,4,-1}", "b = Reshape(a, s)  t = Shape(a)  z = Reshape(b, t)")},
    "Flatten": {7: ("int64[4] t = {-1,4,6,6}", "b = Flatten(a)  c = Relu(b)  z = Reshape(c, t)")},
    "Squeeze and Unsqueeze": {
        7: ("", "b = GlobalAveragePool(a)  c = Squeeze<axes=[2,3]>(b)  z = Unsqueeze<axes=[2,3]>(c)"),
        13: ("int64[2] axes = {2,3}", "b = GlobalAveragePool(a)  c = Squeeze(b, axes)  z = Unsqueeze(c, axes)"),
    },
    "Squeeze of all": {
        7: ("", "b = GlobalAveragePool(a)  c = Squeeze(b)  z = Unsqueeze<axes=[2,3]>(c)"),
        13: ("int64[2] axes = {2,3}", "b = GlobalAveragePool(a)  c = Squeeze(b)  z = Unsqueeze(c, axes)"),
    },
    "Softmax": {7: ("", "b = Softmax(a)  z = Softmax<axis=2>(b)")},
    "LogSoftmax": {7: ("", "z = LogSoftmax<axis=1>(a)")},
    "Hardmax": {7: ("", "z = Hardmax<axis=2>(a)")},
    "ReduceMean": reduced("ReduceMean"),
    "ReduceMax": reduced("ReduceMax"),
    "ReduceMin": reduced("ReduceMin"),
    "ReduceL2": reduced("ReduceL2"),
    "ReduceProd": reduced("ReduceProd"),
    "ReduceSum": reduced("ReduceSum", 13),
    "ReduceMean of all": {7: ("", "b = ReduceMean(a)  z = Mul(a, b)")},
    "Sum, Mean, Max, Min": {7: ("", "b = Tanh(a)  c = Sum(a, b)  d = Mean(a, c)  e = Max(d, b)  z = Min(e, c)")},
    "Add, Sub, Mul, Div": {
        7: ("float[4,1,1] scale", "b = Add(a, scale)  c = Sub(scale, b)  d = Mul(c, a)  z = Div(d, scale)"),
    },
    "Pow, Abs, Sqrt": {7: ("float t = {2}", "b = Pow(a, t)  c = Abs(b)  z = Sqrt(c)")},
    "Greater, Less, Cast": {
        7: ("float t = {0.1}", "b = Greater(a, t)  c = Less(a, t)  d = Or(b, c)  e = Cast<to=1>(d)  z = Mul(a, e)"),
    },
    "Equal": {7: ("int32 t = {0}", "b = Cast<to=6>(a)  c = Equal(b, t)  d = Cast<to=1>(c)  z = Mul(a, d)")},
    "Where": {9: ("float t = {0.1}", "b = Less(a, t)  c = Neg(a)  z = Where(b, a, c)")},
    "Expand": {8: ("float[4,1,1] b, int64[4] s = {2,4,6,6}", "c = Expand(b, s)  z = Mul(a, c)")},
    "Tile": {7: ("int64[4] r = {1,1,2,2}", "z = Tile(a, r)")},
    "SpaceToDepth": {7: ("", "b = SpaceToDepth<blocksize=2>(a)  z = DepthToSpace<blocksize=2>(b)")},
    "TopK": {7: ("", "z, i = TopK<k=3, axis=3>(a)"), 10: ("int64[1] k = {3}", "z, i = TopK<axis=3>(a, k)")},
    "ArgMax": {7: ("", "b = ArgMax<axis=3>(a)  c = Cast<to=1>(b)  z = Mul(a, c)")},
    "Scatter": {
        9: ("int64[2,4,6,1] i, float[2,4,6,1] u", "z = Scatter<axis=3>(a, i, u)"),
        11: ("int64[2,4,6,1] i, float[2,4,6,1] u", "z = ScatterElements<axis=3>(a, i, u)"),
    },
    "QuantizeLinear": {
        10: ("float s = {0.05}, uint8 o = {128}", "b = QuantizeLinear(a, s, o)  z = DequantizeLinear(b, s, o)"),
    },
    "GridSample": {
        16: ("float[2,6,6,2] g", 'z = GridSample<mode="bilinear">(a, g)'),
        20: ("float[2,6,6,2] g", 'z = GridSample<mode="linear">(a, g)'),
    },
    "LSTM": {
        7: (
            "int64[3] t = {6,8,6}, float[1,12,6] k, float[1,12,3] r, float[1,24] b",
            "c = Reshape(a, t)  d = LSTM<hidden_size=3>(c, k, r, b)  e = ReduceMax(d)  z = Mul(a, e)",
        )
    },
    "If": {
        opset: (
            declared,
            f"""b = Relu(a)  z = If(q) <then_branch = t () => (float[2,4,1,1] p) {{ p = {mean} }},
            else_branch = e () => (float[2,4,1,1] r) {{ r = GlobalMaxPool(b) }}>""",
        )
        for opset, declared, mean in (
            (7, "bool q = {1}", "ReduceMean<axes=[2,3]>(b)"),
            (18, "bool q = {1}, int64[2] axes = {2,3}", "ReduceMean(b, axes)"),
        )
    },
}


def text(name: str, opset: int) -> str | None:
    """A network around the operator as that opset writes it, None where it is too old for it."""
    first = max((each for each in FORMS[name] if each <= opset), default=None)
    if first is None:
        return None
    declared, body = FORMS[name][first]
    weights = f"float[4,3,1,1] w, float[2,{COLUMNS.get(name, 4)},1,1] v" + (f", {declared}" if declared else "")
    return f"(float[2,3,6,6] x) => (float[A,B,C,D] y) <{weights}> {{ a = Conv(x, w)  {body}  y = Conv(z, v) }}"
