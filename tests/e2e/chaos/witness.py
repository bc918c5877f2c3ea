"""The project's own witness, which can be out of reach; what it knows is compared with what is stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cra_wasm.platform.ed25519 import is_signed
from cra_wasm.witness.ledger import Ledger
from cra_wasm.witness.server import witness_server


class Witness:
    """It keeps its port and what it knows while it is stopped."""

    def __init__(self, database: Path) -> None:
        self._ledger = Ledger(database, is_signed=is_signed)
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        server = witness_server(self._ledger, port=self.port)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._server, self.port = server, server.server_port

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.stop()
        self._ledger.close()

    def newest(self, session: str) -> Mapping[str, Any] | None:
        """Return the newest checkpoint that it took of a session."""
        _, lines = self._ledger.lines(session)
        newest: Mapping[str, Any] | None = None
        for line in lines:
            newest = json.loads(line)
        return newest
