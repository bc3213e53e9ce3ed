"""The command `kzoo`: one command a module, imported only when it is called for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from kzoo import __version__
from kzoo.errors import FetchError, MissingPackageError, near_matches

COMMANDS = (
    "demo",
    "list",
    "info",
    "predict",
    "train",
    "eval",
    "data",
    "crf",
    "zeroshot",
    "convert",
    "export",
    "benchmark",
    "doctor",
)

# What a user can mend: told in one line. Anything else is a fault of kzoo and keeps its traceback.
_USER_ERRORS = (
    ValueError,
    FetchError,
    MissingPackageError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        argv: the words after `kzoo`; `sys.argv[1:]` by default.

    Returns:
        The exit status: 0 done, 1 the command's own "no" (e.g. `kzoo data check` found bad files), 2 a mistake in
        the command line, a file or a config (one line on stderr; with `KZOO_TRACEBACK=1` the traceback), 130 stopped
        by Ctrl-C.
    """
    # Not `list(...)`: once `kzoo.cli.list` is imported, that name in this module is the command's module.
    words = [*(sys.argv[1:] if argv is None else argv)]
    # TensorFlow's start-up messages would bury the command's own output. Set before anything imports it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = near_matches(words[0], COMMANDS, count=1)
        hint = f"Did you mean `kzoo {near[0]}`?" if near else f"Commands: {', '.join(COMMANDS)}."
        return _fail(f"Unknown command {words[0]!r}. {hint}")
    try:
        args = _parser(words).parse_args(words)
        if args.command is None:
            _parser([]).print_help()
            return 0
        return int(_module(args.command).run(args))
    except SystemExit as stop:  # argparse: --help, --version, or a wrong option, already explained
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("kzoo: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `kzoo list | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _USER_ERRORS as error:
        if os.environ.get("KZOO_TRACEBACK") == "1":
            raise
        return _fail(_message(error))


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the module of the command in `words` is imported, or all of them for the overall help."""
    parser = argparse.ArgumentParser(
        prog="kzoo",
        description="Semantic segmentation: train, evaluate, predict, with networks that work out of the box.",
        epilog="`kzoo COMMAND --help` tells a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"kzoo {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    chosen = [words[0]] if words and words[0] in COMMANDS else COMMANDS
    for command in chosen:
        module = _module(command)
        module.add_arguments(subparsers.add_parser(command, help=module.HELP, description=module.HELP))
    return parser


def _module(command: str) -> ModuleType:
    """The command's module: `HELP`, `add_arguments(parser)` and `run(args) -> int`."""
    return importlib.import_module(f"kzoo.cli.{command}")


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {str(error.filename)!r}."
    return " ".join(str(error).split()) or type(error).__name__


def _fail(message: str) -> int:
    print(f"kzoo: error: {message}", file=sys.stderr)
    return 2
