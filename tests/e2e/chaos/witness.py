"""A witness inside the run: it remembers the newest checkpoint of each session, and can be out of reach.

It answers under the pages' own address, by a route of the browser's context, so that no fault of the browser
takes it along. Signatures are not checked here: what it was told is compared with what is stored at the end.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Route

PATH = "witness"


@dataclass(slots=True)
class Witness:
    """What it was told: a size and a head (lower-case hex) for each session."""

    on_conflict: Callable[[str], None]
    offline: bool = False
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused_offline: int = 0

    def answer(self, route: Route) -> None:
        """Answer a request to `witness/checkpoints` as PROTOCOL 3.19 has it."""
        if self.offline:
            self.refused_offline += 1
            route.abort("connectionrefused")
            return
        status, body = self._take(route.request.post_data or "")
        route.fulfill(status=status, body=json.dumps(body), content_type="application/json")

    def _take(self, line: str) -> tuple[int, dict[str, Any]]:
        entry = json.loads(line)
        origin, size, head, *_ = entry["note"].split("\n")
        session = origin.rpartition("/")[2]
        told = {
            "session_id": session,
            "size": int(size),
            "head": base64.b64decode(head).hex(),
            "key": entry["key"],
        }
        known = self.told.get(session)
        if known is not None and told["size"] == known["size"] and told["head"] != known["head"]:
            self.on_conflict(f"{session} was signed with two heads at {size} events")
        if known is not None and (told["size"] < known["size"] or told["key"] != known["key"]):
            return 409, {"error": {"code": "witness_conflict", "message": "known otherwise"}, "known": known}
        self.told[session] = told
        return 200, told
