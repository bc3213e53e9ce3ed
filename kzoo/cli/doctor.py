"""`kzoo doctor`: what is installed, what can be exported, and what a Jetson's JetPack takes."""

from __future__ import annotations

import argparse
import contextlib

from kzoo.cli.quiet import import_tensorflow
from kzoo.export.environment import Check, devices, doctor

HELP = "Show what is installed, which exports work, and what a JetPack takes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("--jetpack", metavar="VERSION", help="a Jetson's JetPack, e.g. 4.6.1 or 6.2")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 1 if something is missing that kzoo cannot do without."""
    checks = doctor(args.jetpack)
    _print(checks)
    with contextlib.suppress(ImportError):  # told by `devices`
        import_tensorflow()
    seen = devices()
    _print(seen)
    return int(not all(check.ok for check in (*checks, *seen)))


def _print(checks: list[Check]) -> None:
    section = ""
    for check in checks:
        if check.section != section:
            print(check.section if not section else f"\n{check.section}")
            section = check.section
        print(f"  {check.name:20}  {check.value}{f': {check.mend}' if check.mend else ''}")
    print(flush=True)
