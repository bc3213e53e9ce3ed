"""Letting the threads of `tf.data` come to rest before the interpreter ends.

A pipeline that calls back into Python fills its buffers from threads of TensorFlow's. If one of them asks for the
interpreter while that is being torn down, the thread is ended on the spot, its iterator waits for it for ever, and the
process hangs at exit: `it = iter(dataset)` at the top level of a script is enough.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any

_QUIET = 0.2  # seconds without a call after which the buffers are full
_PATIENCE = 10.0  # seconds

_lock = threading.Lock()
_ending = False
_running = 0
_last_call = 0.0


def rests_at_exit(function: Callable[..., Any], at_exit: Callable[[], Any]) -> Callable[..., Any]:
    """`function` for use in a pipeline; while the interpreter ends, it returns what `at_exit()` does.

    Args:
        function: what the pipeline calls.
        at_exit: gives a result of the same kind at once; nobody will see it.
    """

    def call(*args: Any) -> Any:
        global _running, _last_call
        with _lock:
            _running += 1
            _last_call = time.monotonic()
        try:
            return at_exit() if _ending else function(*args)
        finally:
            with _lock:
                _running -= 1

    return call


@atexit.register
def _come_to_rest() -> None:
    """Waits until the buffers of all pipelines are full, so that nothing calls any more."""
    global _ending
    _ending = True
    start = time.monotonic()
    while _last_call and time.monotonic() - start < _PATIENCE:
        with _lock:
            if not _running and time.monotonic() - max(_last_call, start) >= _QUIET:
                return
        time.sleep(0.02)
