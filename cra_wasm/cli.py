"""The command line `cra-wasm`. Exit status: 0 yes, 1 no, 2 could not."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from .errors import CRAError, NotFound

if TYPE_CHECKING:
    import argparse

# What takes time to import is imported within `main`, which catches an interrupt meanwhile.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        try:
            return _run(argv)
        finally:  # Python would do so at its exit, and change the status when it fails
            for stream in _streams():
                stream.flush()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        _give_up(error)
    return 2


def _run(argv: Sequence[str] | None) -> int:
    from .commands.output import COULD_NOT, print_error, print_json

    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an id that a terminal cannot show is no failure
    try:
        status: int = arguments.run(arguments)
        return status
    except CRAError as error:
        told = error
    except OSError as error:
        if error.filename is None:  # our output
            raise
        told = NotFound("file_not_found", f"cannot use `{str(error.filename)[:300]}`: {error.strerror}")
    if arguments.json:
        print_json({"error": told.to_dict()})
    else:
        print_error(told)
    return COULD_NOT


def _give_up(error: OSError) -> None:
    """Tell that the answer cannot be written, unless its reader went away, and let nothing of it be left."""
    from .commands.output import print_error

    with suppress(OSError):
        if not isinstance(error, BrokenPipeError):
            print_error(CRAError("cannot_write", f"cannot write the answer: {error.strerror}"))
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):  # a stream without a descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _streams() -> list[TextIO]:
    """Return stdout and stderr, without those that were closed before the start."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream]


def _parser() -> argparse.ArgumentParser:
    import argparse

    from . import __version__
    from .commands import atlas, bench, conformance, diff, replay, resolve, serve, verify, witness

    class Parser(argparse.ArgumentParser):
        def _print_message(self, message: str, file: Any = None) -> None:
            print(message, end="", file=file or sys.stderr)  # argparse's own hides what could not be written

    parser = Parser(
        prog="cra-wasm", description="Decide what an AI agent may do, and verify the record of it."
    )
    parser.add_argument("--version", action="version", version=f"cra-wasm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (resolve, atlas, verify, replay, diff, conformance, serve, witness, bench):
        sub_parser = commands.add_parser(command.NAME, help=command.HELP)
        command.add(sub_parser)
        sub_parser.add_argument("--json", action="store_true", help="print JSON")
        sub_parser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
