"""Which interpreter this is."""

from __future__ import annotations

import sys
from typing import Final

IN_PYODIDE: Final = sys.platform == "emscripten"
"""Whether JavaScript is underneath: no threads, timers on the JS event loop."""
