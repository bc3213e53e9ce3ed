"""A copy of deploy/litert alone, small networks for it, and what NumPy says that they compute."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.deploy.litert.tiny_networks import HEIGHT, WIDTH, convert, sidecar

SCRIPTS = Path(__file__).resolve().parents[3] / "deploy" / "litert"


@pytest.fixture(scope="session")
def device_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is copied to a device."""
    return shutil.copytree(
        SCRIPTS, tmp_path_factory.mktemp("device") / "litert", ignore=shutil.ignore_patterns("__pycache__")
    )


@pytest.fixture(scope="session")
def scripts(device_folder: Path) -> SimpleNamespace:
    """The modules of the copy. Their names are taken back: another device's folder may have the same."""
    names = [path.stem for path in sorted(device_folder.glob("*.py"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(device_folder))
        modules = {name: importlib.import_module(name) for name in names}
        for name in names:
            del sys.modules[name]
    assert all(module.__file__.startswith(str(device_folder)) for module in modules.values())
    return SimpleNamespace(**modules)


@pytest.fixture
def on_device(device_folder: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script of the copy in a process that has no TensorFlow, Keras, kzoo, nor packages named `without`."""

    def run(script: str, *words: Any, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        shim = tmp_path / "shim"
        shim.mkdir(exist_ok=True)
        for name in ("tensorflow", "keras", "kzoo", *without):
            (shim / f"{name}.py").write_text(f"raise ModuleNotFoundError('not on a device', name={name!r})\n")
        command = [sys.executable, str(device_folder / script), *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(shim)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def chelsea() -> np.ndarray:
    """A real picture, (300, 451, 3) uint8."""
    return skimage.data.chelsea()


@pytest.fixture(scope="session")
def small(chelsea: np.ndarray) -> np.ndarray:
    """The same at the networks' size."""
    return np.asarray(Image.fromarray(chelsea).resize((WIDTH, HEIGHT), Image.Resampling.BOX))


Networks = Callable[[str], tuple[bytes, dict[str, Any]]]


@pytest.fixture(scope="session")
def converted(small: np.ndarray) -> Networks:
    """A network by name, converted once, and its sidecar; see `tiny_networks.convert`."""
    made: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def make(name: str) -> tuple[bytes, dict[str, Any]]:
        if name not in made:
            made[name] = convert(name, small), sidecar(name)
        return made[name]

    return make


@pytest.fixture
def artefact(converted: Networks, tmp_path: Path) -> Callable[..., Path]:
    """Writes a network's file and its sidecar, the latter with `changes`; returns the file's path."""

    def write(name: str, **changes: Any) -> Path:
        content, described = converted(name)
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        whole = {**described, "file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        path.with_name(path.name + ".json").write_text(json.dumps({**whole, **changes}), encoding="utf-8")
        return path

    return write
