"""`cra-wasm witness`: keeps what others sign of their traces, so that a cut shows."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..platform.ed25519 import is_signed
from ..witness.ledger import DEFAULT_MAX_SESSIONS, Ledger
from ..witness.server import witness_server
from .output import YES, print_json
from .verify import key_of

NAME = "witness"
HELP = "keep signed checkpoints of traces, for verify to ask"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8474, help="port, 0 for any free one (default: 8474)")
    parser.add_argument(
        "--database",
        type=Path,
        default=Path("witness.sqlite3"),
        metavar="FILE",
        help="where they are kept (default: witness.sqlite3)",
    )
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="KEY",
        help="take only what one of these signed: name+id+base64, or a file with it; may be repeated",
    )
    parser.add_argument(
        "--allow-origin", default="*", metavar="ORIGIN", help="whose pages may read answers (default: *, all)"
    )
    parser.add_argument(
        "--max-sessions",
        type=int,
        default=DEFAULT_MAX_SESSIONS,
        metavar="N",
        help=f"(default: {DEFAULT_MAX_SESSIONS})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Witness until Ctrl-C."""
    is_signed(bytes(32), bytes(64), b"")  # a missing package is told before anybody is listened to
    ledger = Ledger(
        arguments.database,
        is_signed=is_signed,
        public_keys=[key_of(given) for given in arguments.public_key],
        max_sessions=arguments.max_sessions,
    )
    try:
        with witness_server(
            ledger, arguments.host, arguments.port, allow_origin=arguments.allow_origin
        ) as server:
            address = f"http://{arguments.host}:{server.server_port}"
            if arguments.json:
                print_json({"url": address})
            else:
                print(f"a witness at {address} keeps {arguments.database} (Ctrl-C ends it)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:  # the way to end it
        pass
    finally:
        ledger.close()
    return YES
