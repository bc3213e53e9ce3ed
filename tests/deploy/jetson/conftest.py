"""A Jetson on a CPU: the folder as its owner copies it, with a fake CUDA and a fake TensorRT."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
JETSON = HERE.parents[2] / "deploy" / "jetson"
sys.path.append(str(JETSON))

Done = subprocess.CompletedProcess[str]


class Board:
    """A copy of the folder, whose scripts run as their own processes and see the fakes, and nothing of the project."""

    def __init__(self, folder: Path, cudart: Path, zygote: subprocess.Popen[str]) -> None:
        self.folder, self._zygote = folder, zygote
        shutil.copytree(JETSON, folder / "jetson", ignore=shutil.ignore_patterns("__pycache__"))
        self.fakes = folder / "fakes"
        self.fakes.mkdir()
        shutil.copy(HERE / "fake_tensorrt.py", self.fakes / "tensorrt.py")
        shutil.copy(HERE / "tensorrt_names.json", self.fakes)
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.fakes),
            "LD_LIBRARY_PATH": str(cudart.parent),
            "FAKE_CUDART": str(cudart),
            "FAKE_TENSORRT": "10.3.0",
        }

    def start(self, script: str, *arguments: object, **env: str) -> subprocess.Popen[str]:
        """Starts a script of the folder as a fresh process."""
        return subprocess.Popen(
            [sys.executable, "-B", str(self.folder / "jetson" / script), *map(str, arguments)],
            env=self.env | env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As in a terminal: what starts the tests in the background has them, and all they start, ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, script: str, *arguments: object, **env: str) -> Done:
        """Runs a script to its end: in a fork of the zygote, or afresh where PYTHONPATH is given."""
        if "PYTHONPATH" in env:
            return finish(self.start(script, *arguments, **env))
        outputs = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        argv = [str(self.folder / "jetson" / script), *map(str, arguments)]
        request = {"argv": argv, "env": self.env | env, "cwd": str(self.folder), **outputs}
        print(json.dumps(request), file=self._zygote.stdin, flush=True)
        code = int(self._zygote.stdout.readline())
        return subprocess.CompletedProcess(argv, code, *(Path(path).read_text() for path in outputs.values()))

    def build(self, onnx: Path, *arguments: object, **env: str) -> Path:
        """Builds an engine and returns its path."""
        done = self.run("build_engine.py", onnx, *arguments, **env)
        assert done.returncode == 0, done.stderr
        return next(Path(word.rstrip(":")) for word in done.stdout.split() if word.rstrip(":").endswith(".engine"))

    def hide_cuda(self) -> None:
        """Takes CUDA's runtime library away, also a real one."""
        source = self.folder / "jetson" / "kzoo_jetson" / "cuda.py"
        source.write_text(source.read_text().replace('"libcudart.so', '"libabsent.so'))

    def install(self, package: str, source: str) -> None:
        """Gives Python a package, or takes it away by one that raises."""
        (self.fakes / f"{package}.py").write_text(source)


def finish(process: subprocess.Popen[str]) -> Done:
    """Waits for a process, and ends one that does not end."""
    try:
        stdout, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def assert_fails(done: Done, code: int, *parts: str) -> None:
    """The exit code is `code`, and one line tells why."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="session")
def compiler() -> str:
    """A C compiler; skips the tests that need one where there is none."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    return found


@pytest.fixture(scope="session")
def cudart(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake CUDA runtime, compiled."""
    library = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    source = HERE / "fake_cudart.c"
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture(scope="session")
def zygote(cudart: Path) -> Iterator[subprocess.Popen[str]]:
    # The loader reads LD_LIBRARY_PATH when a process starts.
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(cudart.parent)}
    command = [sys.executable, "-B", str(HERE / "zygote.py")]
    with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def board(tmp_path: Path, cudart: Path, zygote: subprocess.Popen[str]) -> Board:
    return Board(tmp_path / "board", cudart, zygote)


@pytest.fixture(scope="session")
def shared_board(tmp_path_factory: pytest.TempPathFactory, cudart: Path, zygote: subprocess.Popen[str]) -> Board:
    """For tests that leave nothing there which another could see."""
    return Board(tmp_path_factory.mktemp("shared") / "board", cudart, zygote)
