"""Engine files: named and keyed by everything that they depend on, so that a stale one is never loaded.

Beside `NAME.engine` lies `NAME.engine.json`: its key, the ONNX file it was built from, and its own checksum.
"""

import hashlib
import json
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from .errors import EngineError
from .files import sha256_of, whole
from .sidecar import Sidecar, read_sidecar

VERSION = 1


class Key(NamedTuple):
    """What an engine depends on; another value of any of them is another engine."""

    onnx_sha256: str
    tensorrt: str
    gpu: str
    precision: str
    shapes: str  # "1x360x480x3", or "1-4x360x480x3" for 1 to 4 pictures
    flags: List[str]  # TensorRT's names
    workspace_mib: int
    dla_core: Optional[int]

    @property
    def max_batch(self) -> int:
        """How many pictures the engine takes at most."""
        return int(self.shapes.split("x")[0].split("-")[-1])

    def file_name(self, stem: str) -> str:
        """A name that says what matters to people, and differs between different keys."""
        digest = hashlib.sha256(json.dumps(self._asdict(), sort_keys=True).encode()).hexdigest()
        return f"{stem}-{self.precision}-{self.shapes}-trt{self.tensorrt}-{digest[:10]}.engine"


def shapes_text(sidecar: Sidecar, batch: int) -> str:
    """The `shapes` of a key."""
    first = f"1-{batch}" if sidecar.dynamic else str(sidecar.input.shape[0])
    return "x".join([first] + [str(side) for side in sidecar.input.shape[1:]])


def write_engine(path: Path, key: Key, sidecar: Sidecar, plan: bytes, seconds: float) -> None:
    """Writes an engine and the record beside it. The engine comes last: without its record it is not looked at."""
    record = {
        "kzoo_engine": VERSION,
        "onnx": sidecar.onnx.name,
        "key": key._asdict(),
        "sha256": hashlib.sha256(plan).hexdigest(),
        "bytes": len(plan),
        "build_seconds": round(seconds, 1),
    }
    with whole(_record_path(path)) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with whole(path) as partial:
        partial.write_bytes(plan)


def is_current(path: Path, key: Key) -> bool:
    """Whether the engine is there, whole, and built for this key."""
    try:
        return _read_record(path)[0] == key
    except EngineError:
        return False


def read_engine(path: Path, tensorrt: str, gpu: str) -> Tuple[Key, Sidecar, bytes]:
    """An engine for this TensorRT and this GPU, with the sidecar of the network that it was built from.

    Raises:
        EngineError: it is missing, damaged, or built for another TensorRT, GPU or network file.
        NetworkFileError: the network's sidecar is missing or unknown.
    """
    key, onnx = _read_record(path)
    sidecar = read_sidecar(path.with_name(onnx))
    for what, built_for, here in (
        ("TensorRT", key.tensorrt, tensorrt),
        ("the GPU", key.gpu, gpu),
        ("the network with SHA-256", key.onnx_sha256, sidecar.sha256),
    ):
        if built_for != here:
            raise EngineError(
                f"{path} was built for {what} {built_for}, here is {here}: run build_engine.py {sidecar.onnx} again."
            )
    return key, sidecar, path.read_bytes()


def _read_record(path: Path) -> Tuple[Key, str]:
    """The key and the ONNX file's name of an engine whose checksum is right."""
    if not path.is_file():
        raise EngineError(f"There is no engine {path}: build_engine.py makes one of an ONNX file.")
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        if record["kzoo_engine"] != VERSION:
            raise ValueError("kzoo_engine is {!r}, expected {}".format(record["kzoo_engine"], VERSION))
        key, onnx, checksum = Key(**record["key"]), record["onnx"], record["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{_record_path(path)} does not say what {path.name} was built for ({error}): run build_engine.py again."
        ) from None
    if sha256_of(path) != checksum:
        raise EngineError(f"{path} is damaged: its checksum is not the recorded one. Run build_engine.py again.")
    return key, onnx


def _record_path(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")
