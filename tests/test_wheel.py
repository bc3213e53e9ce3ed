"""The wheel: everything that an installed kzoo reads is in it, and nothing that only a checkout needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the environment's own hatchling: the test needs no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("kzoo-*-py3-none-any.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    """The wheel's files by name, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        return {name.partition(".dist-info/")[2]: archive.read(name).decode() for name in names}


def expected_files() -> dict[str, Path]:
    """What the wheel should hold: the files under kzoo/ and zoo_configs/ that git tracks, or would, by name in it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "kzoo", "zoo_configs"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if (ROOT / name).is_file()]
    return {name if name.startswith("kzoo/") else f"kzoo/{name}": ROOT / name for name in names}


def test_wheel_is_the_package_and_the_recipes(contents: dict[str, bytes]) -> None:
    expected = expected_files()
    assert sorted(contents) == sorted(expected)
    for name, path in expected.items():
        assert contents[name] == path.read_bytes(), name


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("kzoo/zoo/cards/", ".yaml"),
        ("kzoo/zoo/backbone_cards/", ".yaml"),
        ("kzoo/zoo/logs/", ".csv"),
        ("kzoo/zoo/weights/", ".h5"),
        ("kzoo/zoo_configs/", ".yaml"),
        ("kzoo/", "py.typed"),
    ],
)
def test_wheel_carries_what_is_read_at_run_time(contents: dict[str, bytes], folder: str, suffix: str) -> None:
    assert any(name.startswith(folder) and name.endswith(suffix) for name in contents)


def test_wheel_metadata(metadata: dict[str, str]) -> None:
    assert "kzoo = kzoo.cli:main" in metadata["entry_points.txt"]
    assert metadata["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    assert metadata["licenses/NOTICE"] == (ROOT / "NOTICE").read_text()
    lines = metadata["METADATA"].splitlines()
    assert "Requires-Python: <3.14,>=3.11" in lines
    base = " ".join(line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line)
    assert "tensorflow" in base and "keras" in base
    assert not any(name in base for name in ("torch", "onnx", "litert", "scikit-image", "pytest"))


def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    where = [sys.executable, "-c", "import kzoo; print(kzoo.__file__)"]
    module = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(module.strip()) == tmp_path / "installed" / "kzoo" / "__init__.py"
    command = [sys.executable, "-m", "kzoo", "list"]
    listed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    for card in (ROOT / "kzoo" / "zoo" / "cards").glob("*.yaml"):
        assert card.stem in listed.stdout
