"""Exit status of the command line: 0 yes, 1 no, 2 could not."""

from __future__ import annotations

from typing import Final

YES: Final = 0
NO: Final = 1
COULD_NOT: Final = 2
