"""Areas `schema` and `canonical-json`: is a document what the protocol asks for, and what is its one text."""

from __future__ import annotations

import io
import json
import zipfile

from ..atlas.loader import read_atlas
from ..carp.schema import compile_schema
from ..errors import InvalidInput, Json
from ..model.parse import parse_json, parse_model
from ..model.request import CARPRequest
from ..trace.canonical import canonical_json
from ..trace.reader import BadLine, read_event
from .case import CanonicalInput, DocumentInput, ParametersInput
from .refusing import findings_told

VALID: Json = {"valid": True}


def answer_document(question: DocumentInput | ParametersInput) -> Json:
    """Answer that the document is valid; of an atlas that is read leniently, also what it is warned of.

    Raises:
        InvalidInput: `invalid_atlas`, `invalid_request`, `invalid_parameters`; `bad_field` and
            `duplicate_key` for an event's line.
    """
    if isinstance(question, ParametersInput):
        _check_parameters(question)
    elif question.document == "atlas":
        loaded = read_atlas(_source_of(question), check_schema=_check_schema, strict=not question.lenient)
        if question.lenient:
            return {"valid": True, "warnings": findings_told(loaded.warnings)}
    elif question.document == "request":
        parse_model(CARPRequest, _source_of(question), code="invalid_request")
    else:
        _check_event(question)
    return VALID


def zip_of(files: dict[str, Json]) -> bytes:
    """Return a case's package as a zip; a file that is no text is written as JSON."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content if isinstance(content, str) else json.dumps(content))
    return buffer.getvalue()


def answer_canonical(question: CanonicalInput) -> Json:
    """Answer a value's canonical text.

    Raises:
        InvalidInput: `not_canonical`.
    """
    return {"canonical": canonical_json(parse_json(question.json_text, code="not_canonical"))}


def _source_of(question: DocumentInput) -> str | bytes:
    if question.hex is not None:
        return bytes.fromhex(question.hex)
    if question.files is not None:
        return zip_of(question.files)
    return question.text if question.text is not None else json.dumps(question.value)


def _check_schema(schema: Json, pointer: str) -> None:
    compile_schema(schema, pointer=pointer)


def _check_parameters(question: ParametersInput) -> None:
    errors = compile_schema(question.json_schema, pointer="/schema").errors(question.value)
    if errors:
        findings = [{"pointer": one.pointer, "code": one.keyword, "message": one.message} for one in errors]
        raise InvalidInput(
            "invalid_parameters", errors[0].message, pointer=errors[0].pointer, findings=findings
        )


def _check_event(question: DocumentInput) -> None:
    """Read one line; what is given as a value stands for its canonical line."""
    if question.hex is not None:
        line = bytes.fromhex(question.hex)
    else:
        text = question.text if question.text is not None else canonical_json(question.value)
        line = f"{text}\n".encode()
    try:
        read_event(line)
    except BadLine as bad:
        raise InvalidInput(bad.error, "the line is no event") from None
