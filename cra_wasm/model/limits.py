"""Limits of everything that comes from outside, in one place (PROTOCOL 0.3)."""

from __future__ import annotations

from typing import Final

MAX_GOAL_CHARS: Final = 10_000
MAX_AGENT_ID_CHARS: Final = 255
MAX_HINTS: Final = 100
MAX_REQUIRED_CAPABILITIES: Final = 100
MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""Largest atlas or request that is read."""

MAX_PAYLOAD_CHARS: Final = 1_000_000
"""Largest canonical payload of one event, and largest parameters or result of an action."""

MAX_JSON_DEPTH: Final = 64
"""Deepest nesting of arrays and objects in anything that is read."""

MAX_VALUES: Final = 500_000
"""Most values of JSON in anything that is read: what a million characters can hold. An empty object takes
three characters as text and hundreds of bytes once it is read, and each value can be a finding of its own."""

MAX_PATTERN_CHECKS: Final = 5_000_000
"""Most comparisons of an atlas's action patterns with its actions: a second or two of work in WebAssembly."""

MAX_CONDITION_GLOBS: Final = 20_000
"""Most globs of an atlas's conditions together: each may have to be matched anew with each request."""

MAX_CONTEXT_TEXT_CHARS: Final = 1_024
"""Longest text of a request's context that a glob is matched with; what is longer cannot be told."""

MAX_CANDIDATES: Final = 20_000
"""Most actions of all loaded atlases together: one resolve must fit the ids of one block and the buffer."""

MAX_PACKAGE_BYTES: Final = MAX_TEXT_BYTES
"""Largest atlas package, unpacked: all its files together, counted while they are read."""

MAX_PACKAGE_FILES: Final = 2_000
"""Most files and folders of a package."""

MAX_PACKAGE_DEPTH: Final = 16
"""Most parts of a path in a package."""

MAX_CONTEXT_FILE_CHARS: Final = 100_000
"""Longest file of a context pack, as of an inline block."""

MAX_PACK_CHARS: Final = 16 * 1024 * 1024
"""Most characters of all context packs of an atlas; a file counts for each pack that lists it."""
