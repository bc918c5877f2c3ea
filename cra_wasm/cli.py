"""The command line `cra-wasm`. Exit status: 0 yes, 1 no, 2 could not."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Final

from . import __version__
from .commands import atlas, bench, conformance, diff, replay, resolve, serve, verify, witness
from .commands.output import print_error, print_json
from .commands.status import COULD_NOT
from .errors import CRAError

COMMANDS: Final = (resolve, atlas, verify, replay, diff, conformance, serve, witness, bench)
"""In the order in which help lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an id that a terminal cannot show is no failure
    try:
        status: int = arguments.run(arguments)
        return status
    except CRAError as error:
        if arguments.json:
            print_json({"error": error.to_dict()})
        else:
            print_error(error)
        return COULD_NOT
    except KeyboardInterrupt:
        return COULD_NOT
    except OSError as error:  # the reader of our output went away; Python's own exit status would say "no"
        print(f"cra-wasm: {error.strerror or type(error).__name__}", file=sys.stderr)
        return COULD_NOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cra-wasm", description="Decide what an AI agent may do, and verify the record of it."
    )
    parser.add_argument("--version", action="version", version=f"cra-wasm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub_parser = commands.add_parser(command.NAME, help=command.HELP)
        command.add(sub_parser)
        sub_parser.add_argument("--json", action="store_true", help="print JSON")
        sub_parser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
