from __future__ import annotations

import subprocess
import sys

import pytest

import kzoo


def test_import_and_registry_import_no_tensorflow() -> None:
    code = (
        "import sys, kzoo; dir(kzoo); kzoo.list_models(); kzoo.is_model('x'); kzoo.zoo.get_card; kzoo.load; "
        "sys.exit(40 + ('tensorflow' in sys.modules) + ('keras' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 40


def test_every_name_is_there() -> None:
    for name in dir(kzoo):
        assert getattr(kzoo, name) is not None
    assert {"load", "list_models", "models", "training"} <= set(dir(kzoo))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'kzoo' has no attribute 'lod'"):
        kzoo.lod  # noqa: B018
