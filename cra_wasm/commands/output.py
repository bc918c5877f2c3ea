"""What commands print, write and exit with: foreign text stays text, in a terminal too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from ..errors import CRAError, Json

YES: Final = 0
NO: Final = 1
COULD_NOT: Final = 2


def print_json(value: Json) -> None:
    """Print a value as JSON: ASCII only, which every terminal and pipe can carry."""
    print(json.dumps(value), flush=True)


def shown(text: str) -> str:
    """Return foreign text without what a terminal would obey."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def print_error(error: CRAError) -> None:
    """Tell an error on stderr: the file if there is one, what is wrong, and all other findings."""
    file = error.details.get("file")
    findings = error.details.get("findings", [])
    print(f"cra-wasm: {shown(f'{file}: ' if file else '')}{shown(str(error))}", file=sys.stderr)
    for finding in findings[1:]:
        where = f"{finding.get('file', '')}{finding['pointer']}" or "the document"
        print(f"  {shown(where)}: {shown(finding['message'])}", file=sys.stderr)


def write_text(path: Path, text: str) -> None:
    """Write a file, with line feeds as they are.

    Raises:
        CRAError: `cannot_write`.
    """
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CRAError("cannot_write", f"cannot write `{path}`: {error.strerror}") from None
