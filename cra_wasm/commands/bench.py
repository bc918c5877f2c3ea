"""`cra-wasm bench`: measure against the budgets."""

from __future__ import annotations

import argparse

from ..bench.command import add_arguments, run_command, text_of
from .output import COULD_NOT, NO, YES, print_json

NAME = "bench"
HELP = "measure against the budgets; exit 1 if one is missed"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; YES when every budget held."""
    report, held = run_command(arguments)
    if arguments.json:
        print_json(report)
    else:
        print(text_of(report))
    return COULD_NOT if held is None else YES if held else NO
