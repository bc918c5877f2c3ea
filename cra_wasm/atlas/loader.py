"""From JSON text, a dict or a file to a checked Atlas."""

from __future__ import annotations

from pathlib import Path

from ..errors import InvalidInput, Json, NotFound
from ..model.atlas import Atlas
from ..model.limits import MAX_TEXT_BYTES
from ..model.parse import findings_error, parse_model
from .findings import SchemaCheck, find_contradictions

INVALID_ATLAS = "invalid_atlas"


def load_atlas(source: str | bytes | dict[str, Json] | Path, *, check_schema: SchemaCheck) -> Atlas:
    """Read one atlas from JSON text, UTF-8 bytes, a dict, or the path of a JSON file.

    Args:
        source: at most 16 MiB; a `str` is always text, only a `Path` is a file.
        check_schema: raises InvalidInput for a JSON Schema that is not of the supported subset.

    Raises:
        InvalidInput: `invalid_atlas` with all findings of the first stage that had any (the text, the
            fields, then what the fields say of each other).
        NotFound: `file_not_found`.
    """
    text = read_file(source) if isinstance(source, Path) else source
    atlas = parse_model(Atlas, text, code=INVALID_ATLAS)
    findings = find_contradictions(atlas, check_schema)
    if findings:
        raise findings_error(INVALID_ATLAS, findings)
    return atlas


def read_file(path: Path) -> bytes:
    """Return the bytes of an atlas file.

    Raises:
        NotFound: `file_not_found` when there is no readable file at `path`.
        InvalidInput: `invalid_atlas` when it is larger than 16 MiB or a folder.
    """
    try:
        if path.is_dir():
            raise InvalidInput(
                INVALID_ATLAS,
                f"`{path}` is a folder: give one JSON file; packages are not built yet",
                pointer="",
            )
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL.
        raise NotFound("file_not_found", f"cannot read `{str(path)[:300]}`: {error}"[:600]) from None
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidInput(INVALID_ATLAS, f"`{path}` is larger than {MAX_TEXT_BYTES} bytes", pointer="")
    return content
