"""Sums over the replicas of a strategy.

Under `tf.distribute` the gradients of the replicas are summed. A loss that is a mean over the global batch is therefore
each replica's own sum over the *global* weight: dividing by the replica's own weight (say, its count of pixels that are
not ignored) would weigh the pixels of a mostly ignored half more.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def replica_count() -> int:
    """Number of replicas in the current strategy; 1 without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: Any) -> Any:
    """`value` summed over all replicas, when called in replica context; `value` itself otherwise."""
    if replica_count() == 1:
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def global_mean(total: Any, weight: Any) -> Any:
    """This replica's share of `sum(total) / sum(weight)` over all replicas; 0 where the global weight is 0."""
    weight = ops.stop_gradient(sum_over_replicas(weight))
    return total / ops.maximum(weight, keras.config.epsilon())
