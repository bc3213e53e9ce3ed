"""What can go wrong on a board: one class and one exit code for each, so that a service can tell them apart."""

import signal
import sys
from typing import Callable


class DeployError(Exception):
    """An error that its message explains; the scripts print it in one line and end with `exit_code`."""

    exit_code = 1


class SoftwareError(DeployError):
    """A Python package or a library is missing or too old."""

    exit_code = 3


class GpuError(DeployError):
    """There is no GPU that CUDA can use."""

    exit_code = 4


class NetworkFileError(DeployError):
    """The ONNX file or its sidecar is missing, damaged, or not what the scripts know."""

    exit_code = 5


class EngineError(DeployError):
    """The engine is missing, damaged, or was built for something else."""

    exit_code = 6


class BuildError(DeployError):
    """TensorRT cannot build the engine asked for."""

    exit_code = 7


class MemoryShortageError(DeployError):
    """The GPU's memory does not suffice."""

    exit_code = 8


class CudaError(DeployError):
    """A call of CUDA or TensorRT failed otherwise."""

    exit_code = 9


class InputError(DeployError):
    """A picture, video or camera cannot be read."""

    exit_code = 10


class CameraStoppedError(DeployError):
    """A camera that delivered frames does no more."""

    exit_code = 11


FILE_ERROR = 12  # an OSError: a full disk, a folder without permission
INTERRUPTED = 130


def run(main: Callable[[], None]) -> int:
    """Calls `main` and returns the exit code, having printed what went wrong. SIGTERM ends it as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        main()
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return FILE_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
