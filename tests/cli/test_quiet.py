from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORT = "from kzoo.cli.quiet import import_tensorflow; import_tensorflow()"


def _import(folder: Path, source: str) -> str:
    """What importing a `tensorflow` of this source leaves on stderr."""
    (folder / "tensorflow.py").write_text(source)
    path = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, "-c", IMPORT]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True).stderr


def test_start_up_messages_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    noise = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        b"I0000 00:00:1795267781.374749    7297 port.cc:153] oneDNN custom operations are on.\n"
        b"I0000 00:00:1795267781.375164    7297 cudart_stub.cc:31] Could not find cuda drivers on your machine.\n"
    )
    source = f"import os\nos.write(2, {noise!r})\nos.write(2, b'E0000 00:00:17.3 7297 a.cc:1] broken driver\\n')\n"
    assert _import(tmp_path, source) == "E0000 00:00:17.3 7297 a.cc:1] broken driver\n"


def test_a_failing_import_keeps_its_traceback(tmp_path: Path) -> None:
    stderr = _import(tmp_path, "import os\nos.write(2, b'ahead of it\\n')\nraise ImportError('no such library')\n")
    assert stderr.startswith("ahead of it\n")
    assert "ImportError: no such library" in stderr


def test_the_real_one_imports_in_silence() -> None:
    assert subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True).stderr == ""
