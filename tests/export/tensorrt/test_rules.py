"""What single operators may have: a graph that breaks each rule, and a neighbour that does not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.export.tensorrt.graphs import BOOL, FLOAT, INT32, INT64, assert_rule, branches, loop, model, node, single

FOUR = np.ones(4, np.float32)
KERNEL = np.ones((5, 4, 3, 3), np.float32)
TWICE = np.float32([1, 1, 2, 2])
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1])
DYNAMIC = {"n": (INT64, (1,))}
NUMBERS = {"v": np.float32([0, 1]), "d": np.array([3])}


def resize(**attributes):
    return single("Resize", "x - s", {"s": TWICE}, **attributes)


def einsum(equation, *shapes):
    more = {f"x{index}": (FLOAT, shape) for index, shape in enumerate(shapes)}
    return model([node("Einsum", " ".join(more), equation=equation)], x=None, more=more)


def top_k(k=None, **keys):
    """TopK of a constant k, or of a computed one."""
    nodes = [node("TopK", "x k", "y p"), node("Cast", "p", "places", to=INT32)]
    outputs = {"y": FLOAT, "places": INT32}
    if k is not None:
        return model(nodes, {"k": np.array([k])}, y=outputs, **keys)
    nodes.insert(0, node("Cast", "m", "k", to=INT64))
    return model(nodes, y=outputs, more={"m": (INT32, (1,))}, **keys)


def computed(operator, inputs, shape, keys=None, to=None):
    """An operator whose input n is a Cast of an INT32 or FLOAT input m."""
    dtype = FLOAT if operator == "InstanceNormalization" else INT32
    nodes = [node("Cast", "m", "n", to=to or (FLOAT if dtype == FLOAT else INT64)), node(operator, inputs)]
    return model(nodes, more={"m": (dtype, shape)}, **(keys or {}))


# The rule, what the finding says, (graph, version) that breaks it, (graph, version) that does not.
CASES = [
    (
        "einsum",
        "has an ellipsis",
        (einsum("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)), "10.3"),
        (einsum("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)), "10.13"),
    ),
    ("einsum", "takes a diagonal", (einsum("ii->i", (4, 4)), "8.2"), (einsum("ij->i", (4, 4)), "8.2")),
    (
        "einsum",
        "broadcasts axis j",
        (einsum("ij,jk->ik", (3, 4), (1, 5)), "8.6"),
        (einsum("ij,jk->ik", (3, 4), (4, 5)), "8.2"),
    ),
    (
        "einsum",
        "3 inputs",
        (einsum("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)), "8.6"),
        (einsum("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)), "10.3"),
    ),
    (
        "einsum",
        "upper-case",
        (einsum("IJ,JK->IK", (3, 4), (4, 5)), "11.4"),
        (einsum("ij, jk -> ik", (3, 4), (4, 5)), "8.2"),
    ),
    (
        "topk",
        "K=5000, the largest is 3840",
        (top_k(5000, x=(FLOAT, (1, 6000))), "11.4"),
        (top_k(3840, x=(FLOAT, (1, 6000))), "10.3"),
    ),
    (
        "constant",
        "input K .'k'. is computed",
        (top_k(), "8.5"),
        (top_k(), "8.6"),
    ),
    (
        "attribute",
        "antialias=1: only 0",
        (resize(antialias=1, mode="linear", opset=18), "11.4"),
        (resize(mode="linear", opset=18), "11.4"),
    ),
    ("attribute", "mode=cubic: only nearest or linear", (resize(mode="cubic"), "8.4"), (resize(mode="cubic"), "8.5")),
    (
        "attribute",
        "half_pixel_symmetric: only half_pixel",
        (resize(coordinate_transformation_mode="half_pixel_symmetric", opset=19), "11.4"),
        (resize(coordinate_transformation_mode="align_corners", mode="linear"), "8.2"),
    ),
    (
        "attribute",
        "tf_crop_and_resize",
        (
            single(
                "Resize",
                "x r s",
                {"r": np.zeros(8, np.float32), "s": TWICE},
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            "8.2",
        ),
        (resize(coordinate_transformation_mode="pytorch_half_pixel"), "8.2"),
    ),
    (
        "attribute",
        "keep_aspect_ratio_policy=not_larger",
        (
            single(
                "Resize", "x - - s", {"s": np.array([1, 4, 16, 16])}, keep_aspect_ratio_policy="not_larger", opset=18
            ),
            "11.4",
        ),
        (single("Resize", "x - - s", {"s": np.array([1, 4, 16, 16])}, opset=18), "11.4"),
    ),
    (
        "resize",
        "nearest_mode=floor with tf_half_pixel_for_nn",
        (resize(coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor"), "8.2"),
        (resize(coordinate_transformation_mode="tf_half_pixel_for_nn"), "8.2"),
    ),
    (
        "resize",
        r"axes=\[3, 2\]",
        (single("Resize", "x - s", {"s": np.float32([2, 2])}, axes=[3, 2], opset=18), "11.4"),
        (resize(axes=[0, 1, -2, -1], opset=18), "11.4"),
    ),
    (
        "attribute",
        r"dilations=\[2, 2\]: only 1",
        (single("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "11.4"),
        (single("MaxPool", kernel_shape=[2, 2], dilations=[1, 1]), "8.2"),
    ),
    (
        "output",
        "output Indices",
        (single("MaxPool", kernel_shape=[2, 2], y={"y": FLOAT, "i": INT64}), "11.4"),
        (single("MaxPool", kernel_shape=[2, 2]), "8.2"),
    ),
    (
        "output",
        "output Mean",
        (
            single("LayerNormalization", "x c", {"c": np.ones(8, np.float32)}, y={"y": FLOAT, "m": FLOAT}, opset=17),
            "8.6",
        ),
        (single("LayerNormalization", "x c", {"c": np.ones(8, np.float32)}, opset=17), "8.6"),
    ),
    (
        "attribute",
        "mode=wrap",
        (single("Pad", "x p", {"p": PADS}, mode="wrap", opset=13), "8.6"),
        (single("Pad", "x p", {"p": PADS}, mode="wrap", opset=19), "10.3"),
    ),
    (
        "attribute",
        "mode=wrap",
        (single("Pad", "x p", {"p": PADS}, mode="wrap"), "8.2"),
        (single("Pad", "x p", {"p": PADS}, mode="reflect"), "8.2"),
    ),
    (
        "pad",
        "input axes",
        (single("Pad", "x p - a", {"p": np.array([1, 1]), "a": np.array([2])}, opset=18), "10.3"),
        (single("Pad", "x p - a", {"p": np.array([1, 1]), "a": np.array([2])}, opset=18), "10.13"),
    ),
    (
        "attribute",
        "reduction=add",
        (
            single(
                "ScatterND", "x i u", {"i": np.array([[0]]), "u": FOUR[:1]}, x=(FLOAT, (4,)), reduction="add", opset=16
            ),
            "11.4",
        ),
        (single("ScatterND", "x i u", {"i": np.array([[0]]), "u": FOUR[:1]}, x=(FLOAT, (4,))), "8.2"),
    ),
    (
        "attribute",
        "reduction=add",
        (
            single(
                "ScatterElements",
                "x i u",
                {"i": np.array([0]), "u": FOUR[:1]},
                x=(FLOAT, (4,)),
                reduction="add",
                opset=16,
            ),
            "8.6",
        ),
        (
            single(
                "ScatterElements",
                "x i u",
                {"i": np.array([0]), "u": FOUR[:1]},
                x=(FLOAT, (4,)),
                reduction="add",
                opset=16,
            ),
            "10.3",
        ),
    ),
    (
        "constant",
        "input depth .'n'. is computed",
        (single("OneHot", "x n v", {"v": NUMBERS["v"]}, x=(INT32, (4,)), more=DYNAMIC), "10.3"),
        (single("OneHot", "x d v", NUMBERS, x=(INT32, (4,))), "10.3"),
    ),
    (
        "constant",
        "input axes .'n'. is computed",
        (single("ReduceSum", "x n", more=DYNAMIC), "11.4"),
        (single("ReduceSum", "x a", {"a": np.array([1])}), "8.2"),
    ),
    (
        "constant",
        "input axis .'n'. is computed",
        (single("CumSum", "x n", more={"n": (INT64, ())}), "10.3"),
        (single("CumSum", "x n", more={"n": (INT64, ())}), "10.13"),
    ),
    (
        "constant",
        "training_mode is True",
        (single("Dropout", "x r t", {"r": np.float32(0.5), "t": np.array(True)}), "11.4"),
        (single("Dropout", "x r t", {"r": np.float32(0.5), "t": np.array(False)}), "8.2"),
    ),
    (
        "constant",
        "kernel 'w' is computed",
        (single("ConvTranspose", "x w", more={"w": (FLOAT, (4, 5, 3, 3))}), "8.4"),
        (single("ConvTranspose", "x w", more={"w": (FLOAT, (4, 5, 3, 3))}), "8.5"),
    ),
    (
        "constant",
        "bias 'b' is computed",
        (single("Conv", "x w b", {"w": KERNEL}, more={"b": (FLOAT, (5,))}), "8.2"),
        (single("Conv", "x w b", {"w": KERNEL, "b": KERNEL[:, 0, 0, 0]}), "8.2"),
    ),
    (
        "rank",
        "a kernel of 4 spatial axes",
        (
            single(
                "ConvTranspose", "x w", {"w": np.ones((4, 5, 1, 1, 1, 1), np.float32)}, x=(FLOAT, (1, 4, 2, 2, 2, 2))
            ),
            "11.4",
        ),
        (single("ConvTranspose", "x w", {"w": np.ones((4, 5, 1, 1), np.float32)}), "8.2"),
    ),
    (
        "rank",
        "an input of 5 axes",
        (
            single("GridSample", "x g", x=(FLOAT, (1, 4, 2, 8, 8)), more={"g": (FLOAT, (1, 2, 8, 8, 3))}, opset=16),
            "8.5",
        ),
        (single("GridSample", "x g", more={"g": (FLOAT, (1, 8, 8, 2))}, opset=16), "8.5"),
    ),
    (
        "attribute",
        "training_mode=1",
        (single("BatchNormalization", "x c c c c", {"c": FOUR}, training_mode=1, opset=15), "11.4"),
        (single("BatchNormalization", "x c c c c", {"c": FOUR}), "8.2"),
    ),
    ("control", "give 4 and 0 axes|give 0 and 4 axes", (branches("ReduceSum"), "11.4"), (branches("Abs"), "8.2")),
    ("operator", "no version of TensorRT", (branches("Bernoulli"), "8.2"), (branches("Abs"), "8.2")),
    ("control", "a loop of computed length", (loop(False), "11.4"), (loop(True), "8.2")),
    ("control", "a loop of computed length", (loop(False), "8.5"), (loop(False, stacked=False), "8.5")),
    *(
        ("constant", f"input {role} .'n'. is computed", (computed(*graph), before), (computed(*graph), first))
        for role, before, first, graph in (
            ("axes", "10.3", "10.13", ("Squeeze", "x n", (1,), {"x": (FLOAT, (1, 4, 8, 8))})),
            ("axes", "8.2", "10.13", ("Unsqueeze", "x n", (1,))),
            ("axes", "8.6", "10.3", ("Slice", "x s s n", (1,), {"constants": {"s": np.array([1])}})),
            ("scale", "8.5", "8.6", ("InstanceNormalization", "x n c", (4,), {"constants": {"c": FOUR}})),
            ("B", "8.5", "8.6", ("InstanceNormalization", "x c n", (4,), {"constants": {"c": FOUR}})),
        )
    ),
    (
        "constant",
        "input training_mode .'n'. is computed",
        (computed("Dropout", "x r n", (), {"constants": {"r": np.float32(0.5)}}, to=BOOL), "11.4"),
        (single("Dropout", "x r", {"r": np.float32(0.5)}), "8.2"),
    ),
    (
        "output",
        "output running_mean",
        (single("BatchNormalization", "x c c c c", {"c": FOUR}, y={"y": FLOAT, "m": FLOAT}), "11.4"),
        (single("BatchNormalization", "x c c c c", {"c": FOUR}), "11.4"),
    ),
]


@pytest.mark.parametrize(("rule", "problem", "bad", "good"), CASES)
def test_rule(rule, problem, bad, good):
    assert_rule(rule, problem, bad, good)
