"""Applying a compiled JSON Schema: nodes, one run's findings and limits, and equality as JSON has it.

Hot path: plain slots, one table look-up per value and no exception handling on the way of a valid instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import Json
from ..model.limits import MAX_JSON_DEPTH, MAX_VALUES

MAX_INSTANCE_DEPTH: Final = MAX_JSON_DEPTH
MAX_APPLICATIONS_DEPTH: Final = 192
"""Deepest nesting of subschemas applied at run time: 64 levels of instance with three subschemas in each.

At three frames each that is 576 of the 1,000 that Python allows.
"""

MAX_UNITS: Final = 1_000_000
"""Work of one validation, in subschemas applied: about half a second on CPython. Beyond it: refused."""

_FAILURE_UNITS: Final = 8
"""What a subschema costs that did not fit, where nobody wants to know why: its finding is thrown away."""

Path: TypeAlias = "tuple[Path, str | int] | None"
"""Where we are in the instance, innermost first: cheap to make, and written out only for a finding."""

Check: TypeAlias = "Callable[[Json, Path, Run], None]"

KINDS: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaError:
    """One finding: where in the instance, which keyword, and where that keyword stands in the schema.

    `keyword` is `json` for a value that JSON does not have, `limits` where a limit of this validator ended
    the run, and `false` for the schema `false`. Messages name the rule and never show the instance's values.
    """

    pointer: str
    keyword: str
    message: str
    schema_pointer: str


class Enough(Exception):
    """As many errors were found as were asked for."""


class OverLimit(Exception):
    """The run was too long or too deep; `args` are path, message, schema pointer."""


class Run:
    """One validation: what was found, and how much work is left."""

    __slots__ = ("depth", "errors", "limit", "prefix", "refusals", "units")

    def __init__(self, prefix: str, limit: int) -> None:
        self.errors: list[SchemaError] = []
        self.refusals: list[SchemaError] = []
        self.limit = limit
        self.prefix = prefix
        self.units = MAX_UNITS
        self.depth = 0

    def finding(self, path: Path, keyword: str, message: str, schema_pointer: str) -> SchemaError:
        pointer = self.prefix + write_path(path)
        return SchemaError(pointer=pointer, keyword=keyword, message=message, schema_pointer=schema_pointer)

    def add(self, path: Path, keyword: str, message: str, schema_pointer: str) -> None:
        self.errors.append(self.finding(path, keyword, message, schema_pointer))
        if len(self.errors) >= self.limit:
            raise Enough

    def refuse(self, path: Path, keyword: str, message: str, schema_pointer: str) -> None:
        """Note what could not be judged: the instance fails whatever `not` or `anyOf` make of it."""
        if not self.refusals:
            self.refusals.append(self.finding(path, keyword, message, schema_pointer))

    def spend(self, units: int, path: Path, schema_pointer: str) -> None:
        self.units -= units
        if self.units < 0:
            raise OverLimit(path, f"takes more than {MAX_UNITS} steps to check", schema_pointer)

    def passes(self, node: Node, value: Json, path: Path) -> bool:
        """Tell whether `value` fits `node`, keeping no findings."""
        errors, limit, depth = self.errors, self.limit, self.depth
        self.errors, self.limit = [], 1
        try:
            node.apply(value, path, self)
        except Enough:
            self.units -= _FAILURE_UNITS
            return False
        finally:
            self.errors, self.limit, self.depth = errors, limit, depth
        return True


class Node:
    """One subschema: its checks, sorted by the type of instance that each can say something about."""

    __slots__ = ("checks", "pointer", "table", "weight")

    def __init__(self, pointer: str) -> None:
        self.pointer = pointer
        self.checks: list[tuple[str | None, Check]] = []
        self.weight = 1
        self.table: dict[type, tuple[Check, ...]] = {}

    def seal(self) -> None:
        """Make the table; no check is added afterwards."""
        for kind, name in KINDS.items():
            self.table[kind] = tuple(
                check for wanted, check in self.checks if wanted is None or wanted == name
            )

    def apply(self, value: Json, path: Path, run: Run) -> None:
        run.units -= self.weight
        run.depth += 1
        if run.units < 0 or run.depth > MAX_APPLICATIONS_DEPTH:
            what = "takes more than the allowed steps" if run.units < 0 else "nests too many subschemas"
            raise OverLimit(path, f"{what} to check", self.pointer)
        checks = self.table.get(value.__class__)
        for check in self.table[_json_class(value)] if checks is None else checks:
            check(value, path, run)
        run.depth -= 1


def _json_class(value: Json) -> type:
    """Return the JSON type of an instance of a subclass; `find_non_json` has let only such through."""
    return next(kind for kind in (dict, list, str, int, float) if isinstance(value, kind))


def write_path(path: Path) -> str:
    """Return the JSON Pointer of `path`."""
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(escape(part) if isinstance(part, str) else str(part))
    return "".join("/" + part for part in reversed(parts))


def escape(token: str) -> str:
    """Return `token` as JSON Pointer writes it."""
    return token.replace("~", "~0").replace("/", "~1")


Fault: TypeAlias = tuple[Path, str, str]
"""Path, keyword and message of a value that cannot be judged."""


def find_non_json(document: Json) -> Fault | None:
    """Return the first value that is not JSON or breaks a limit of size, else None."""
    if (message := _fault(document)) is not None:
        return None, "json", message
    left = MAX_VALUES
    level: list[tuple[Json, Path]] = [(document, None)] if isinstance(document, dict | list) else []
    for _ in range(MAX_INSTANCE_DEPTH):
        deeper: list[tuple[Json, Path]] = []
        for parent, path in level:
            left -= len(parent)
            if left < 0:
                return path, "limits", f"holds more than {MAX_VALUES} values"
            if (fault := _sort_members(parent, path, deeper)) is not None:
                return fault
        if not deeper:
            return None
        level = deeper
    return level[0][1], "limits", f"nests deeper than {MAX_INSTANCE_DEPTH} levels"


def _sort_members(parent: Json, path: Path, deeper: list[tuple[Json, Path]]) -> Fault | None:
    """Add the arrays and objects in `parent` to `deeper`; return the first member that is not JSON."""
    named = isinstance(parent, dict)
    for key, value in parent.items() if named else enumerate(parent):
        if named and not isinstance(key, str):
            return path, "json", "has a member whose name is not a string"
        if value.__class__ in _PLAIN:
            continue
        if (message := _fault(value)) is not None:
            return (path, key), "json", message
        if isinstance(value, dict | list):
            deeper.append((value, (path, key)))
    return None


_PLAIN: Final = frozenset({str, int, bool, type(None)})


def _fault(value: Json) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else "is not a finite number"
    if value is None or isinstance(value, str | int | dict | list):
        return None
    return f"is a `{type(value).__name__}`, which JSON does not have"


def json_key(value: Json) -> str:
    """Return a text that two values share exactly when JSON calls them equal: 1 == 1.0, true != 1.

    Rejected: hashing the values as they are, because Python's hashes of numbers and of tuples of numbers can
    be made to collide at will, and that of a text cannot.
    """
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        if not value.is_integer():
            return float.__repr__(value)
        value = int(value)
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, list):
        return "[" + ",".join(map(json_key, value)) + "]"
    if isinstance(value, dict):
        return (
            "{" + ",".join(str.__repr__(name) + ":" + json_key(value[name]) for name in sorted(value)) + "}"
        )
    return str.__repr__(value)
