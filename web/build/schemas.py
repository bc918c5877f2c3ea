"""Write the JSON Schemas that come from the pydantic models, into specs/schemas; the others are kept by hand.

Usage: .venv/bin/python web/build/schemas.py [--check]     --check: fail where one is out of date

A schema says what one member can tell. What takes several members, or a calendar, it leaves to the loader: so
it accepts all that the models accept, and more (tests/unit/test_schemas.py holds it to that).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from settings import ROOT

FOLDER: Final = ROOT / "specs" / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLES: Final = {
    "atlas": "An atlas (PROTOCOL 1)",
    "request": "A CARP request (PROTOCOL 2.1)",
    "case": "A file of conformance cases (specs/conformance/README.md)",
}
"""Of the schemas that are generated, by name."""


class _Plain(GenerateJsonSchema):
    """Without the titles that only repeat the names of members."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_text(name: str) -> str:
    """Return the text of a generated schema's file."""
    schema = TypeAdapter(_model_of(name)).json_schema(schema_generator=_Plain)
    if name == "atlas":
        schema["$defs"]["Policy"]["allOf"] = _parameters_by_type()
    ordered = {"$schema": DIALECT, **_without_discriminators(schema), "title": TITLES[name]}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def _model_of(name: str) -> Any:
    # Imported late: main() has to put the checkout before an installed wheel first.
    from cra_wasm.conformance.case import CaseFile, GoldenInput
    from cra_wasm.model.atlas import Atlas
    from cra_wasm.model.request import CARPRequest

    return {"atlas": Atlas, "request": CARPRequest, "case": CaseFile | GoldenInput}[name]


def _parameters_by_type() -> list[dict[str, Any]]:
    """Return which parameters stand with which type of policy; the model checks it in Python."""
    from cra_wasm.model.atlas import OF_ANY_TYPE, PARAMETERS_OF

    return [
        {
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": {"properties": {"parameters": {"propertyNames": {"enum": sorted(names | OF_ANY_TYPE)}}}},
        }
        for kind, names in PARAMETERS_OF.items()
    ]


def _without_discriminators(value: Any) -> Any:
    """Drop OpenAPI's keyword, which JSON Schema does not have."""
    if isinstance(value, dict):
        return {name: _without_discriminators(one) for name, one in value.items() if name != "discriminator"}
    if isinstance(value, list):
        return [_without_discriminators(one) for one in value]
    return value


def main(words: Sequence[str]) -> int:
    sys.path.insert(0, str(ROOT))
    stale = 0
    for name in TITLES:
        path = FOLDER / f"{name}.schema.json"
        text = schema_text(name)
        if words != ["--check"]:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"  {path.relative_to(ROOT)}")
        elif path.read_bytes() != text.encode():
            print(f"{path.relative_to(ROOT)} is out of date: run web/build/schemas.py", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
