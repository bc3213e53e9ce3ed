"""The ONNX that comes out of the converter, mended where the converter is wrong."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from kzoo.export import onnx_file
from kzoo.export.target import Target
from kzoo.layers import Resize


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("form", [{}, {"align_corners": True}])
@pytest.mark.parametrize(("source", "target"), [((12, 15), (23, 30)), ((23, 30), (12, 15)), ((2, 5), (3, 41))])
def test_a_resize_gives_its_size(form: dict, source: tuple[int, int], target: tuple[int, int]) -> None:
    """Also where the quotient of the sizes, as float32, is below what it should be: 12 * (23 / 12) < 23."""
    x = np.random.default_rng(0).normal(size=(1, *source, 3)).astype("float32")
    layer = Resize(target, **form)
    function = tf.function(
        lambda image: layer(image), input_signature=[tf.TensorSpec(x.shape, tf.float32, name="image")]
    )
    model = onnx_file.convert(function, Target("onnx", source))
    assert [node.op_type for node in model.graph.node].count("Resize") == 1
    np.testing.assert_allclose(answer(model, x), layer(x), atol=1e-5)


def test_no_pair_of_sizes_is_rounded_down() -> None:
    sizes = np.arange(1, 600, dtype=np.float32)
    source, target = (axis.ravel() for axis in np.meshgrid(sizes, sizes))
    scales = onnx.numpy_helper.from_array(target / source, "scales")
    node = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "resize", [], [], [scales]))
    assert (np.floor(source * (target / source)) != target).any()
    onnx_file._round_scales_up(model)
    mended = onnx.numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_array_equal(np.floor(source * mended), target)
