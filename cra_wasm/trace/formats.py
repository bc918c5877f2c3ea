"""The formats of an event's fields as regular expressions (PROTOCOL 3.1). They keep preimages apart."""

from __future__ import annotations

from typing import Final

UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
HASH: Final = "[0-9a-f]{64}"
EVENT_TYPE: Final = r"[a-z]+(?:\.[a-z_]+)+"
SEQUENCE: Final = "0|[1-9][0-9]{0,15}"
TIMESTAMP: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z"
