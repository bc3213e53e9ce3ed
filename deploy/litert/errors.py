"""What can go wrong on a device: one line on stderr and an exit code for each kind."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

COMMAND_LINE = 2  # argparse's own
PACKAGE = 3
NETWORK = 4
SIDECAR = 5
PICTURE = 6
DELEGATE = 7
OUTPUT = 8
STOPPED = 130  # Ctrl-C

EXIT_CODES = """exit codes:
  0 done                            5 its sidecar is missing or does not fit
  2 a mistake on the command line   6 a picture or video cannot be read (the others are done)
  3 a package is missing            7 the delegate does not load
  4 the .tflite file is damaged     8 a result cannot be written
"""

_PIP_NAMES = {
    "numpy": "numpy",
    "PIL": "pillow",
    "ai_edge_litert": "ai-edge-litert",
    "flatbuffers": "flatbuffers",
    "cv2": "opencv-python-headless",
}


class DeviceError(Exception):
    """Something that whoever runs the script can mend.

    Args:
        code: the exit code of the script, one of this module's constants.
        message: what happened, what was expected, how to mend it.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def packages_needed() -> Iterator[None]:
    """Around imports: ends the script with the package to install, or the file of this folder that was not copied."""
    try:
        yield
    except ImportError as error:
        module = (error.name or "").split(".")[0]
        if not isinstance(error, ModuleNotFoundError):
            message = f"The package {module} is there and cannot be loaded: {error}"
        elif module in _PIP_NAMES:
            message = f"The package {module} is missing. Install it: pip install {_PIP_NAMES[module]}"
        else:
            message = f"The module {module} is missing. Copy the whole folder, not one script of it."
        report(DeviceError(PACKAGE, message))
        raise SystemExit(PACKAGE) from None


def main(run: Callable[[], int]) -> int:
    """Runs a script's body; a `DeviceError` becomes its line and its exit code."""
    try:
        return run()
    except DeviceError as error:
        report(error)
        return error.code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED


def report(error: DeviceError) -> None:
    """One line on stderr."""
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
