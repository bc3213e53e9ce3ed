"""TensorFlow's import without its start-up messages."""

from __future__ import annotations

import os
import re
import sys
import tempfile

# What TensorFlow 2.21 writes while it loads, whatever TF_CPP_MIN_LOG_LEVEL says: its log levels hold only afterwards.
_START_UP = re.compile(rb"(WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d:)")


def import_tensorflow() -> None:
    """Imports TensorFlow; its start-up messages are dropped, everything else that it says on stderr is passed on."""
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            messages.seek(0)
            for line in messages:
                if not _START_UP.match(line):
                    sys.stderr.write(line.decode(errors="replace"))
