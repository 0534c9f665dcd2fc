"""The activations of recurrent operators: names, default parameters, and how each is written in operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnxprune.backends.lowering.site import Site

__all__ = ["Activation", "activations"]

Parameters = tuple[float, ...]


@dataclass(frozen=True)
class Activation:
    """One activation, with its parameters."""

    write: Callable[[Site, str, Parameters], str]
    parameters: Parameters

    def __call__(self, site: Site, x: str) -> str:
        """The tensor that it makes of ``x``."""
        return self.write(site, x, self.parameters)


def activations(site: Site, defaults: Sequence[str]) -> list[Activation]:
    """Those of all directions, in order: ``activation_alpha`` and ``_beta`` go to the first that take one."""
    alphas, betas = (iter(site.attribute(name, [])) for name in ("activation_alpha", "activation_beta"))
    directions = 2 if site.attribute("direction") == "bidirectional" else 1
    names = site.attribute("activations") or [*defaults] * directions
    return [_activation(name, alphas, betas) for name in names]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name.lower() not in FORMS:
        raise ValueError(f"its activation '{name}' is not known")
    write, defaults = FORMS[name.lower()]
    parameters = [next(values, default) for values, default in zip((alphas, betas), defaults, strict=False)]
    if (known := [value for value in parameters if value is not None]) != parameters:
        raise ValueError(f"its activation '{name}' lacks an alpha or a beta, which has no agreed default")
    return Activation(write, tuple(known))


def _plain(op: str) -> Callable[[Site, str, Parameters], str]:
    def write(site: Site, x: str, parameters: Parameters) -> str:
        return site.emit(op, x, **dict(zip(("alpha", "beta"), parameters, strict=False)))

    return write


def _affine(site: Site, x: str, parameters: Parameters) -> str:
    alpha, beta = (site.constant(value, site.dtype(site.input(0))) for value in parameters)
    return site.emit("Add", site.emit("Mul", x, alpha), beta)


def _scaled_tanh(site: Site, x: str, parameters: Parameters) -> str:
    alpha, beta = (site.constant(value, site.dtype(site.input(0))) for value in parameters)
    return site.emit("Mul", site.emit("Tanh", site.emit("Mul", x, beta)), alpha)


FORMS: Mapping[str, tuple[Callable[[Site, str, Parameters], str], Sequence[float | None]]] = {
    "affine": (_affine, (None, None)),
    "elu": (_plain("Elu"), (1.0,)),
    "hardsigmoid": (_plain("HardSigmoid"), (0.2, 0.5)),
    "leakyrelu": (_plain("LeakyRelu"), (0.01,)),
    "relu": (_plain("Relu"), ()),
    "scaledtanh": (_scaled_tanh, (None, None)),
    "sigmoid": (_plain("Sigmoid"), ()),
    "softplus": (_plain("Softplus"), ()),
    "softsign": (_plain("Softsign"), ()),
    "tanh": (_plain("Tanh"), ()),
    "thresholdedrelu": (_plain("ThresholdedRelu"), (None,)),
}
