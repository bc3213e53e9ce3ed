"""The convolutional CRF: the refinement that deploys."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kzoo.crf.bilateral import truncated_bilateral_kernel
from kzoo.crf.mean_field import Kernel, positive
from kzoo.crf.recurrent import RecurrentCRF
from kzoo.crf.spatial import spatial_filter
from kzoo.layers import Resize


@keras.saving.register_keras_serializable(package="kzoo")
class ConvolutionalCRF(RecurrentCRF):
    """The CRF whose pixels are connected only within a window, where the kernels are exact; trains like `RecurrentCRF`.

    Made of pads, slices, multiplications, depthwise convolutions and softmax alone, which ONNX, TensorRT and LiteRT
    take; with a static input size the graph holds no shape arithmetic. Time and graph grow with the window's area.

    The paper's own form differs: its bilateral kernel has no distance in it (here a very large `bilateral_sigma_xy`).

    Args:
        filter_size: side of the window, odd; in pixels, or in squares of `stride` pixels.
        stride: messages are passed between means over squares of `stride` x `stride` pixels and brought back to full
            size (bilinear), the paper's "blur": the window reaches so much further, and an iteration costs a part.
        **kwargs: those of `kzoo.crf.RecurrentCRF`, with `DenseCRF`'s widths and weights for defaults.

    Reference: Teichmann and Cipolla, Convolutional CRFs for Semantic Segmentation, arXiv 1805.04777.
    """

    def __init__(
        self,
        spatial_sigma: float = 3.0,
        spatial_weight: float = 3.0,
        bilateral_sigma_xy: float = 49.0,
        bilateral_sigma_rgb: float = 5.0,
        bilateral_weight: float = 4.0,
        iterations: int = 5,
        training_iterations: int = 5,
        normalization: str = "after",
        filter_size: int = 7,
        stride: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            spatial_sigma=spatial_sigma,
            spatial_weight=spatial_weight,
            bilateral_sigma_xy=bilateral_sigma_xy,
            bilateral_sigma_rgb=bilateral_sigma_rgb,
            bilateral_weight=bilateral_weight,
            iterations=iterations,
            training_iterations=training_iterations,
            normalization=normalization,
            **kwargs,
        )
        self.filter_size, self.stride = positive("filter_size", filter_size), positive("stride", stride)
        if self.filter_size % 2 == 0:
            raise ValueError(
                "A ConvolutionalCRF needs a window with a centre, an odd filter_size. "
                f"Received: filter_size={filter_size}"
            )
        self._to_pixels = Resize(dtype=self.dtype_policy, name="to_pixels")
        self.supports_jit = True
        self._refine_as_graph = tf.function(self._refine, reduce_retracing=True, autograph=False)

    def _refine_outside_graphs(self, logits: Any, images: Any, iterations: int) -> Any:
        return self._refine_as_graph(logits, images, iterations)  # half the time of so many small operations

    def _refine_in_graphs(self, logits: Any, images: Any, iterations: int) -> Any:
        return self._refine(logits, images, iterations)

    def _refine(self, logits: Any, images: Any, iterations: int) -> Any:
        return super()._refine(logits, _means(images, self.stride), iterations)

    def _spatial_kernel(self, logits: Any) -> Kernel:
        sigma = self.spatial_sigma / self.stride
        return self._strided(lambda values: spatial_filter(values, sigma, self.filter_size // 2))

    def _bilateral_kernel(self, images: Any) -> Kernel:
        radius, sigma_xy = self.filter_size // 2, self.bilateral_sigma_xy / self.stride
        return self._strided(truncated_bilateral_kernel(images, sigma_xy, self.bilateral_sigma_rgb, radius))

    def _strided(self, kernel: Kernel) -> Kernel:
        """The kernel between the means over squares, as an operator on pixels."""
        if self.stride == 1:
            return kernel
        return lambda values: self._to_pixels(kernel(_means(values, self.stride)), values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filter_size": self.filter_size, "stride": self.stride}


def _means(values: Any, stride: int) -> Any:
    """Means over squares; those at the border count only the pixels that they have."""
    return values if stride == 1 else tf.nn.avg_pool2d(values, stride, stride, "SAME")
