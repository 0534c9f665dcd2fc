"""Functions of a float32 as products and sums, so that they run on vectors; NaN stays NaN.

exp, log, tanh: Cephes, expf.c, logf.c and tanhf.c (S. Moshier); erf: N. Juffa, stackoverflow.com/a/35148199.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Call
from tvm.tirx import Expr, Var

__all__ = ["bound_to", "on_vectors"]

SMALLEST = 1.1754943508222875e-38  # normal number
LN2 = (0.693359375, -2.12194440e-4)  # in two parts, of which the first has few bits
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
ERF = (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
ERF_TAIL = (
    *(-1.72853470e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1),
)


def on_vectors(call: Call) -> Expr:
    """A call as products and sums, where there is a rule; else the call itself."""
    name = getattr(call.op, "name", "")
    if name not in RULES or call.ty.dtype != "float32":
        return call
    return bound_to(call.args[0], RULES[name])


def bound_to(value: Expr, body: Callable[[Any], Expr]) -> Expr:
    """An expression of a value that is computed once, however often it is read."""
    if isinstance(value, Var | tirx.FloatImm | tirx.IntImm):
        return body(value)
    variable = Var("v", str(value.ty.dtype))
    return tirx.Let(variable, value, body(variable))


def _f(value: float) -> Any:
    return tirx.const(value, "float32")


def _i(value: int) -> Any:
    return tirx.const(value, "int32")


def _bits(value: Expr) -> Any:
    return tirx.reinterpret("int32", value)


def _float_of(bits: Expr) -> Any:
    return tirx.reinterpret("float32", bits)


def _horner(x: Any, coefficients: Sequence[float]) -> Any:
    total = _f(coefficients[0])
    for each in coefficients[1:]:
        total = total * x + _f(each)
    return total


def _exp(x: Any) -> Expr:
    """2ⁿ · exp(r), where x = n · ln 2 + r; 2ⁿ in two factors, as there is no float for 2¹²⁸."""
    shift = 12582912.0  # 1.5 · 2²³: what is added to it is rounded to an integer

    def scaled(n: Any, r: Any, bits: Any) -> Any:
        half = bits >> _i(1)
        factors = [_float_of((each + _i(127)) << _i(23)) for each in (half, bits - half)]
        value = ((_horner(r, EXP) * (r * r) + r) + _f(1)) * factors[0] * factors[1]
        low = tirx.Select(x < _f(-87.33654), _f(0), value)
        return tirx.Select(x > _f(88.72284), tirx.infinity("float32"), low)

    def rest(n: Any, bits: Any) -> Any:
        return bound_to((x - n * _f(LN2[0])) - n * _f(LN2[1]), lambda r: scaled(n, r, bits))

    def rounded(t: Any) -> Any:
        whole = bound_to(t - _f(shift), lambda n: bound_to(_bits(t) - _i(0x4B400000), lambda bits: rest(n, bits)))
        return whole

    return bound_to(x * _f(1.4426950408889634) + _f(shift), rounded)


def _log(x: Any) -> Expr:
    """e · ln 2 + log(1 + z), where x = 2ᵉ · (1 + z) and 1 + z lies between √½ and √2."""

    def value(z: Any, e: Any) -> Any:
        z2 = z * z
        tail = _horner(z, LOG) * z * z2 + e * _f(LN2[1]) - _f(0.5) * z2
        return (tail + z) + e * _f(LN2[0])

    def split(y: Any, offset: Any) -> Any:
        return bound_to(
            (_bits(y) - _i(0x3F3504F3)) >> _i(23),
            lambda e: bound_to(
                _float_of(_bits(y) - (e << _i(23))) - _f(1),
                lambda z: bound_to(tirx.Cast("float32", e) + offset, lambda whole: value(z, whole)),
            ),
        )

    tiny = x < _f(SMALLEST)
    scaled = bound_to(tirx.Select(tiny, x * _f(8388608), x), lambda y: split(y, tirx.Select(tiny, _f(-23), _f(0))))
    finite = tirx.Select(x < tirx.infinity("float32"), scaled, x)
    known = tirx.Select(x < _f(0), _f(float("nan")), finite)
    return tirx.Select(x == _f(0), -tirx.infinity("float32"), known)


def _tanh(x: Any) -> Expr:
    """1 − 2 / (exp(2|x|) + 1), and near 0 a polynomial."""

    def of(size: Any, square: Any) -> Expr:
        near = _horner(square, TANH) * square * x + x
        far = _f(1) - _f(2) / (bound_to(size + size, _exp) + _f(1))
        return tirx.Select(size < _f(0.625), near, _signed(far, x))

    return bound_to(_size(x), lambda size: bound_to(x * x, lambda square: of(size, square)))


def _erf(x: Any) -> Expr:
    """1 − exp(a polynomial in |x|), and near 0 a polynomial."""

    def of(size: Any, square: Any) -> Expr:
        near = _horner(square, ERF) * x + x
        far = _f(1) - bound_to(_horner(size, ERF_TAIL) * size - size, _exp)
        return tirx.Select(size < _f(0.927734375), near, _signed(far, x))

    clipped = bound_to(_size(x), lambda t: tirx.Select(t > _f(4), _f(4), t))
    return bound_to(clipped, lambda size: bound_to(x * x, lambda square: of(size, square)))


def _size(x: Any) -> Any:
    return tirx.Select(x < _f(0), -x, x)


def _signed(size: Any, x: Any) -> Expr:
    return bound_to(size, lambda v: tirx.Select(x < _f(0), -v, v))


def _sigmoid(x: Any) -> Expr:
    return _f(1) / (_f(1) + bound_to(-x, _exp))


RULES: Mapping[str, Callable[[Any], Expr]] = {
    "tirx.exp": _exp,
    "tirx.log": _log,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
    "tirx.sigmoid": _sigmoid,
}
