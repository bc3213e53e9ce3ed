"""Operators and multiplications, counted in files made by hand."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from kzoo.export import litert_operations, onnx_file
from kzoo.export.census import Census, Product, check_share
from kzoo.export.litert_file import LitertConverter


def test_onnx_products():
    kernel = numpy_helper.from_array(np.zeros((8, 3, 3, 3), "float32"), "kernel")
    depthwise = numpy_helper.from_array(np.zeros((8, 1, 3, 3), "float32"), "depthwise")
    up = numpy_helper.from_array(np.zeros((8, 2, 4, 4), "float32"), "up")
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], name="full", pads=[2] * 4, dilations=[2, 2]),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], name="depth", pads=[1] * 4, group=8),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], name="up", strides=[2, 2], pads=[1] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 7])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 2, 10, 14])],
        [kernel, depthwise, up],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model, full_check=True)
    found = {product.name: (product.macs, product.precision) for product in onnx_file.census(model).products}
    assert found == {
        "full": (35 * 8 * 3 * 9, "fp32"),
        "depth": (35 * 8 * 9, "fp32"),
        "up": (35 * 8 * 2 * 16, "fp32"),
    }


def test_litert_products():
    kernel, depthwise = tf.random.normal((3, 3, 3, 8)), tf.random.normal((3, 3, 8, 1))
    matrix = tf.random.normal((8, 5))

    @tf.function(input_signature=[tf.TensorSpec((1, 5, 7, 3), name="image")], autograph=False)
    def function(image):
        x = tf.nn.conv2d(image, kernel, 1, "SAME", dilations=2)
        x = tf.nn.depthwise_conv2d(x, depthwise, [1] * 4, "SAME")
        rows = tf.reshape(x, (1, 35, 8))
        return {"logits": tf.matmul(tf.matmul(rows, rows, transpose_a=True), matrix)}

    file = LitertConverter(function).convert("fp32")
    litert_operations.check(file)
    found = sorted((product.operator, product.macs) for product in litert_operations.census(file).products)
    assert found == [
        ("BATCH_MATMUL", 35 * 8 * 8),
        ("CONV_2D", 35 * 8 * 3 * 9),
        ("DEPTHWISE_CONV_2D", 35 * 8 * 9),
        ("FULLY_CONNECTED", 8 * 8 * 5),
    ]


def test_litert_products_of_more_than_31_bits():
    @tf.function(input_signature=[tf.TensorSpec((1, 256, 256, 64), name="image")], autograph=False)
    def function(image):
        return {"logits": tf.nn.conv2d(image, tf.ones((3, 3, 64, 64)), 1, "SAME")}

    (product,) = litert_operations.census(LitertConverter(function).convert("fp32")).products
    assert product.macs == 256 * 256 * 64 * 64 * 9 > 2**31


def test_operations_that_are_not_litert_are_named():
    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), name="image")], autograph=False)
    def function(image):
        return {"logits": tf.linalg.svd(image, compute_uv=False)}

    with pytest.raises(ValueError, match="operations that LiteRT has not"):
        LitertConverter(function).convert("fp32")


def test_too_little_in_the_precision_asked_for():
    products = (Product("a", "Conv", 90, "int8"), Product("b", "MatMul", 10, "fp32"))
    with pytest.raises(ValueError, match=r"Only 90\.0% .* b \(fp32, 10\.0%\)"):
        check_share(Census({"Conv": 1, "MatMul": 1}, products), "int8")
    check_share(Census({"Conv": 1}, products[:1]), "int8")
