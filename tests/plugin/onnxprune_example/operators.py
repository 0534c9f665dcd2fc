# onnxprune_example/operators.py
"""com.example.Swish(x, slope) = x · sigmoid(slope · x), with one slope per channel."""

import atexit

from onnx import defs

from onnxprune.axes.facts import Facts, Tie, at
from onnxprune.axes.families.elementwise import same
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.model import Model
from onnxprune.node import Node


@rule("com.example.Swish")
def swish(node: Node) -> Facts:
    """Every axis passes through, and a channel owns its slope."""
    x, slope, y = node.x(0), node.x(1), node.y()
    yield from same(x, y)
    yield Tie(at(x, 1), at(slope, 0))


@refit("com.example.Swish")
def swish_channels(model: Model, node: Node, left: Left) -> None:
    """The number of channels stands in an attribute."""
    model.set_attribute(node, "channels", left.size(at(node.x(), 1)))


SCHEMA = defs.OpSchema(
    "Swish",
    "com.example",
    1,
    inputs=[defs.OpSchema.FormalParameter(name, "T") for name in ("x", "slope")],
    outputs=[defs.OpSchema.FormalParameter("y", "T")],
    type_constraints=[("T", ["tensor(float)"], "float32")],
    attributes=[defs.OpSchema.Attribute("channels", defs.OpSchema.AttrType.INT, "how many there are")],
)
SCHEMA.set_type_and_shape_inference_function(lambda ctx: ctx.set_output_type(0, ctx.get_input_type(0)))
defs.register_schema(SCHEMA)
atexit.register(defs.deregister_schema, "Swish", 1, "com.example")  # older releases of onnx hang at exit without
