"""install.sh on boards of several JetPacks, with and without what the scripts need."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.jetson.conftest import JETSON, Done

TOOLS = {
    "python3": """case "$*" in
  --version) echo "Python 3.6.9" ;;
  *"import PIL"*) exit "$NO_PILLOW" ;;
  *) echo 1.2.3 ;;
esac""",
    "apt-cache": "exit 1",
    "ls": 'echo "$2"',
    "sudo": 'echo "sudo $*"',
}


def install(folder: Path, release: str | None, *arguments: str, without_pillow: bool = False) -> Done:
    """Runs the script with tools of our own first on the path."""
    for name, body in TOOLS.items():
        tool = folder / name
        tool.write_text(f"#!/bin/sh\n{body}\n")
        tool.chmod(0o755)
    if release is not None:
        (folder / "release").write_text(release)
    script = folder / "install.sh"
    script.write_text((JETSON / "install.sh").read_text().replace("/etc/nv_tegra_release", str(folder / "release")))
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "NO_PILLOW": str(int(without_pillow))}
    return subprocess.run(
        ["/bin/sh", str(script), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "32.7.1: JetPack 4.6.1"),
        ("# R35 (release), REVISION: 1.0, GCID: 31346300, BOARD: t186ref", "35.1.0: JetPack 5.0.2, TensorRT 8.4"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1: JetPack 5.1, TensorRT 8.5"),
        ("# R36 (release), REVISION: 3.0, GCID: 36106755, BOARD: generic", "36.3.0: JetPack 6.0, TensorRT 8.6"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "36.4.3: JetPack 6.1 or 6.2, TensorRT 10.3"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic", "38.2.0: JetPack 7"),
    ],
)
def test_jetpacks(release: str, jetpack: str, tmp_path: Path) -> None:
    done = install(tmp_path, release)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Jetson Linux {jetpack}")
    assert "numpy 1.2.3" in done.stdout
    assert done.stdout.endswith("Nothing is missing.\n")


def test_too_old(tmp_path: Path) -> None:
    done = install(tmp_path, "# R32 (release), REVISION: 6.1, GCID: 27863751, BOARD: t210ref")
    assert done.returncode == 1
    assert "JetPack 4.6.1 or newer" in done.stderr


def test_what_is_missing_is_named_and_installed(tmp_path: Path) -> None:
    done = install(tmp_path, None, without_pillow=True)
    assert done.returncode == 1
    assert "PIL is missing" in done.stdout
    assert done.stdout.endswith("sudo apt-get install -y python3-pil\n")
    done = install(tmp_path, None, "--install", without_pillow=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("sudo apt-get update\nsudo apt-get install -y python3-pil\n")
