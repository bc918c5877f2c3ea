"""`cra-wasm serve`: the built site on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..serve import serve_directory
from .output import YES, print_json

NAME = "serve"
HELP = "serve the built site on this machine"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--dir", type=Path, default=Path("dist/site"), help="folder (default: dist/site)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8420, help="port, 0 for any free one (default: 8420)")
    parser.add_argument(
        "--isolated",
        action="store_true",
        help="cross-origin isolate the pages, for finer timers in bench.html",
    )
    parser.add_argument(
        "--connect",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages reach http(s)://host[:port], such as a witness; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    with serve_directory(
        arguments.dir,
        arguments.host,
        arguments.port,
        isolated=arguments.isolated,
        connect=arguments.connect,
    ) as server:
        address = f"http://{arguments.host}:{server.server_port}/"
        if arguments.json:
            print_json({"url": address})
        else:
            print(f"serving {arguments.dir} at {address} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it
            return YES
    return YES
