"""The network as the one function that every format is converted from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf

from kzoo.export.target import Target

if TYPE_CHECKING:
    from kzoo.models import Segmenter

Refine = Literal["none", "conv"]


def exported_function(model: Segmenter, target: Target, refinement: Any) -> Any:
    """A `tf.function` from `image` to a dict of one tensor, `logits` or `classes`, of the target's shape.

    Args:
        model: the network.
        target: what is asked for.
        refinement: the CRF in the graph, of `deployed_refinement`, or None.
    """

    def run(image: Any) -> dict[str, Any]:
        return {target.output_name: answer(model, refinement, image, target)}

    signature = [tf.TensorSpec(target.input_shape, getattr(tf, target.input_type), name="image")]
    return tf.function(run, input_signature=signature, autograph=False)


def answer(model: Segmenter, refinement: Any, image: Any, target: Target) -> Any:
    """The logits, or the class map, of pictures (B, H, W, 3) in any type."""
    image = tf.cast(image, tf.float32)
    options = {} if getattr(model, "refinement", None) is None else {"refine": False}
    logits = model(image, training=False, **options)
    if refinement is not None:
        logits = refinement(logits, image)
    # Not keras.ops.argmax, whose bitwise operations neither LiteRT nor ONNX has.
    return tf.cast(tf.argmax(logits, -1, tf.int32), target.class_type) if target.argmax else logits


def save(function: Any, folder: str | os.PathLike[str]) -> None:
    """Writes an exported function as a SavedModel, which keeps the names of its input and output."""
    module = tf.Module()
    module.function = function
    # Those that the function reads, or the SavedModel would not find them.
    module.variables_read = list(function.get_concrete_function().variables)
    tf.saved_model.save(module, folder, signatures={"serving_default": function})


def deployed_refinement(model: Segmenter, refine: Refine | None, stride: int = 1) -> Any:
    """The convolutional CRF that goes into the graph, or None.

    Args:
        model: the network.
        refine: `"none"` leaves the network's CRF out; `"conv"` is the network's own convolutional CRF or, behind a
            network without one, a CRF with the widths and weights of its dense one, or of `DenseCRF` by default; None
            takes a network that has none, or a convolutional one, as it is.
        stride: of a convolutional CRF that is not the network's own.

    Raises:
        ValueError: the network's CRF is a lattice, which no format holds, and `refine` does not say what to do; its
            weights were trained for another CRF; a stride where none can be chosen.
    """
    from kzoo.crf import ConvolutionalCRF, RecurrentCRF
    from kzoo.errors import unknown_name

    if refine not in (None, "none", "conv"):
        raise unknown_name("refinement of an export", refine, ("none", "conv"))
    own = getattr(model, "refinement", None)
    if stride != 1 and (refine != "conv" or isinstance(own, ConvolutionalCRF)):
        raise ValueError(
            "A stride is chosen for the convolutional CRF that refine='conv' puts behind a network without one; the "
            f"network's own has that of its training. Received: stride {stride}, refine {refine!r}."
        )
    if refine == "none" or (refine is None and own is None):
        return None
    if isinstance(own, ConvolutionalCRF):
        return own
    if refine is None:
        raise ValueError(
            f"{model.name}: its refinement, {type(own).__name__}, works on a lattice that neither ONNX nor LiteRT "
            "can hold. Export with refine='none' (--refine none), and refine on the host if at all, or with "
            "refine='conv', a convolutional CRF in the graph."
        )
    if own is None:
        return ConvolutionalCRF(stride=stride, name="refinement")
    if isinstance(own, RecurrentCRF):
        raise ValueError(
            f"{model.name}: the weights of its CRF-as-RNN were trained for a lattice, not for a convolutional CRF: "
            "export with refine='none', or train the network with refine: conv."
        )
    widths = ("spatial_sigma", "spatial_weight", "bilateral_sigma_xy", "bilateral_sigma_rgb", "bilateral_weight")
    return ConvolutionalCRF(**{key: getattr(own, key) for key in widths}, stride=stride, name="refinement")
