"""Time and memory of the Encoding layer, forward and backward, against two other ways of computing it.

    python tools/bench_encoding.py                        # (4, 60, 60, 512), 32 codewords, 2 threads
    python tools/bench_encoding.py --shape 2 20 20 64 --rounds 3

- `kzoo`: kzoo.layers.Encoding, two matrix products, in a tf.function;
- `residuals`: the definition taken literally in a tf.function, with the (B, N, K, C) tensor of residuals;
- `torch`: the two products in PyTorch eager mode.

All are given the same float32 input and an upstream gradient, and return the gradients of input, codewords and scale.
Memory is the peak of the first call above the process's size before it, after a tiny call that loads the kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from bench_workers import Contestant, median_ratio, serve, set_threads, take_turns

# What the layer is held to: against the residual tensor, and against PyTorch.
LEAST_SPEED_UP, LEAST_MEMORY_RATIO, MOST_TORCH_RATIO = 8.0, 20.0, 1.0
TINY = (1, 4, 4)


def arrays(batch: int, height: int, width: int, channels: int, codewords: int) -> list[np.ndarray]:
    """Input (B, H, W, C) as after a ReLU, codewords (K, C), scale (K,) and the upstream gradient (B, K, C)."""
    rng = np.random.default_rng(0)
    limit = (codewords * channels) ** -0.5
    return [
        np.maximum(rng.normal(size=(batch, height, width, channels)), 0).astype("float32"),
        rng.uniform(-limit, limit, (codewords, channels)).astype("float32"),
        rng.uniform(-1, 0, codewords).astype("float32"),
        rng.normal(size=(batch, codewords, channels)).astype("float32"),
    ]


def tensorflow_step(form: str, channels: int, codewords: int) -> Callable[..., Any]:
    """A traced function from input and upstream gradient to the three gradients."""
    import tensorflow as tf

    from kzoo.layers import Encoding

    layer = Encoding(codewords)
    layer.build((None, None, None, channels))
    layer.set_weights(arrays(*TINY, channels, codewords)[1:3])

    def residual_form(x: Any) -> Any:
        x = tf.reshape(x, (tf.shape(x)[0], -1, 1, channels))
        residuals = x - layer.codewords
        assignment = tf.nn.softmax(layer.scale * tf.reduce_sum(tf.square(residuals), -1))
        return tf.reduce_sum(tf.expand_dims(assignment, -1) * residuals, 1)

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, channels)), tf.TensorSpec((None, codewords, channels))]
    )
    def step(x: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            encoded = layer(x) if form == "kzoo" else residual_form(x)
        sources = [x, layer.codewords.value, layer.scale.value]
        return tape.gradient(encoded, sources, output_gradients=upstream)

    return step


def torch_step(codewords: np.ndarray, scale: np.ndarray) -> Callable[..., Any]:
    import torch

    from tests.parity.torch_encnet import encode_by_products

    weights = [torch.from_numpy(array).requires_grad_() for array in (codewords, scale)]

    def step(x: torch.Tensor, upstream: torch.Tensor) -> Any:
        x = x.flatten(1, 2).requires_grad_()
        return torch.autograd.grad(encode_by_products(x, *weights), [x, *weights], upstream)

    return step


def contest(form: str, shape: list[int], codewords: int, threads: int) -> None:
    """The contestant's process."""
    set_threads("torch" if form == "torch" else "tensorflow", threads)
    x, d, scale, upstream = arrays(*shape, codewords)
    tiny_x, _, _, tiny_upstream = arrays(*TINY, shape[-1], codewords)
    if form == "torch":
        import torch

        step, convert = torch_step(d, scale), torch.from_numpy
    else:
        import tensorflow as tf

        step, convert = tensorflow_step(form, shape[-1], codewords), tf.constant
    x, upstream = convert(x), convert(upstream)
    serve(lambda: step(x, upstream)[2].numpy(), lambda: step(convert(tiny_x), convert(tiny_upstream))[2].numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs=4, type=int, default=[4, 60, 60, 512], metavar=("B", "H", "W", "C"))
    parser.add_argument("--codewords", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--repeats", type=int, default=3, help="calls in a row within one round")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        contest(args.contestant, **args.options)
        return

    options = {"shape": args.shape, "codewords": args.codewords, "threads": args.threads}
    with ExitStack() as stack:
        forms = {
            name: stack.enter_context(Contestant(__file__, name, options)) for name in ("kzoo", "residuals", "torch")
        }
        memory = {name: form.first_call().of_call for name, form in forms.items()}
        take_turns(list(forms.values()), args.rounds, args.repeats)
    print(f"Encoding {tuple(args.shape)}, {args.codewords} codewords, forward and backward, {args.threads} threads")
    for name, form in forms.items():
        print(f"  {name:10} {1e3 * statistics.median(form.seconds):9.2f} ms {memory[name]:9.1f} MiB")
    speed_up = median_ratio(forms["residuals"], forms["kzoo"])
    saving = memory["residuals"] / max(memory["kzoo"], 1e-9)
    against_torch = median_ratio(forms["kzoo"], forms["torch"])
    print(f"against the residual tensor: {speed_up:.1f} times faster (at least {LEAST_SPEED_UP:g})")
    print(f"against the residual tensor: {saving:.1f} times less memory (at least {LEAST_MEMORY_RATIO:g})")
    print(f"against PyTorch's two products: {against_torch:.2f} of its time (at most {MOST_TORCH_RATIO:g})")


if __name__ == "__main__":
    main()
