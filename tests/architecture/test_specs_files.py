"""What of specs/ is generated is what its generator writes, and the OpenAPI document is one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from openapi_spec_validator.readers import read_from_filename

ROOT = Path(__file__).resolve().parents[2]
VERBS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = {
    ("get", "/v1/health"),
    ("get", "/v1/sessions"),
    ("post", "/v1/sessions"),
    ("get", "/v1/sessions/{session_id}"),
    ("delete", "/v1/sessions/{session_id}"),
    ("post", "/v1/resolve"),
    ("post", "/v1/execute"),
    ("get", "/v1/traces/{session_id}"),
    ("post", "/v1/traces/{session_id}/verify"),
    ("get", "/v1/traces/stream"),
    ("get", "/v1/atlases"),
    ("post", "/v1/atlases"),
    ("get", "/v1/atlases/{atlas_id}"),
    ("delete", "/v1/atlases/{atlas_id}"),
}


def test_the_generated_schemas_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "web" / "build" / "schemas.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_openapi_document_is_valid_and_its_references_lead_somewhere() -> None:
    path = ROOT / "specs" / "openapi.yaml"
    document, _ = read_from_filename(str(path))
    assert document["openapi"].startswith("3.1.")
    validate(document, base_uri=path.as_uri(), cls=OpenAPIV31SpecValidator)
    for reference in references_of(document):
        file, _, pointer = reference.partition("#")
        target = document if not file else json.loads((path.parent / file).read_text(encoding="utf-8"))
        for name in pointer.split("/")[1:]:
            target = target[name]


def test_the_openapi_document_has_every_path_of_the_suite() -> None:
    document, _ = read_from_filename(str(ROOT / "specs" / "openapi.yaml"))
    operations = {(verb, path) for path, item in document["paths"].items() for verb in item if verb in VERBS}
    assert operations == OPERATIONS


def references_of(value: Any) -> Iterator[str]:
    """Yield every $ref of a document."""
    for name, one in value.items() if isinstance(value, dict) else enumerate(value):
        if name == "$ref":
            yield one
        elif isinstance(one, dict | list):
            yield from references_of(one)
