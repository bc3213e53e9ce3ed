"""How the tests of all readers see that a file is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kzoo.convert import CheckpointError


def assert_refused(read: Callable[[Path], Any], path: Path, match: str, most: int = 2**22) -> None:
    """Reading fails with the one error, which names the file, and takes little memory (bytes)."""
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=match) as caught:
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert repr(str(path)) in str(caught.value)
    assert peak < most
