"""The keywords of the JSON Schema subset: what each wants to be, and what it checks (PROTOCOL 2).

Each function gets a `Site`, the place of one keyword in one subschema, and its value. It refuses a malformed
value, or adds closures to the site's node. `schema_containers` has those of arrays and objects,
`schema_combinators` those that put schemas together, and `schema_vocabulary` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final, Protocol, TypeAlias

from ..errors import Json
from .schema_pattern import MAX_SUBJECT_CHARS, GuardedPattern
from .schema_run import Node, Path, Run, json_key

MAX_SAFE_COUNT: Final = 2**53 - 1
TOO_LONG: Final = f"is longer than the {MAX_SUBJECT_CHARS} characters on which a pattern is tried"


class Site(Protocol):
    """One keyword in one subschema, as the compiler shows it."""

    schema: dict[str, Json]
    node: Node
    pointer: str
    """Where the keyword stands, written out."""

    is_root: bool

    def refuse(self, code: str, message: str, *tokens: str | int) -> None:
        """Note a finding at the keyword or at a place below it."""

    def subschema(self, value: Json, *tokens: str | int) -> Node:
        """Compile the schema that stands at the keyword or at a place below it."""

    def apply_in_place(self, *nodes: Node) -> None:
        """Tell that the keyword applies `nodes` to the same value: they must not lead back here."""

    def sibling(self, keyword: str) -> Node | None:
        """Compile the schema that another keyword of the same subschema holds."""

    def pattern(self, text: Json, *tokens: str | int) -> GuardedPattern | None:
        """Compile a pattern; None when it was refused, which is a finding at these tokens."""

    def known_pattern(self, text: str) -> GuardedPattern | None:
        """Compile a pattern that another keyword reports on."""

    def refer(self, target: str) -> None:
        """Apply the subschema that the JSON Pointer `target` names, which may be compiled later."""


Keyword: TypeAlias = Callable[[Site, Json], None]

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),), "boolean": (bool,), "integer": (int,), "number": (int, float), "string": (str,),
    "array": (list,), "object": (dict,),
}  # fmt: skip


def malformed(site: Site, wanted: str, *tokens: str | int) -> None:
    site.refuse("malformed_keyword", f"must be {wanted}", *tokens)


def is_count(value: Json) -> bool:
    """Tell whether `value` is a non-negative JSON integer; 2.0 is one, true is not."""
    return is_number(value) and value == int(value) and 0 <= value <= MAX_SAFE_COUNT


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_names(value: Json) -> bool:
    """Tell whether `value` is an array of strings, no two of them equal."""
    return (
        isinstance(value, list)
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


def check_type(site: Site, value: Json) -> None:
    names = [value] if isinstance(value, str) else value
    if not is_names(names) or not names or not _TYPES.keys() >= set(names):
        return malformed(site, f"one or several of {', '.join(_TYPES)}")
    allowed = frozenset(kind for name in names for kind in _TYPES[name])
    whole_floats = "integer" in names
    message, pointer = f"must be of type {' or '.join(names)}", site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        if instance.__class__ in allowed:
            return
        if isinstance(instance, float) and whole_floats and instance.is_integer():
            return
        # Instances of subclasses; bool is one of int and is not meant.
        if isinstance(instance, bool) or not isinstance(instance, tuple(allowed)):
            run.add(path, "type", message, pointer)

    site.node.checks.append((None, check))


def check_enum(site: Site, value: Json) -> None:
    if not isinstance(value, list):
        return malformed(site, "an array of values")
    _check_among(site, "enum", value, f"must be one of the {len(value)} listed values")


def check_const(site: Site, value: Json) -> None:
    _check_among(site, "const", [value], "must be the value that const states")


def _check_among(site: Site, keyword: str, values: list[Json], message: str) -> None:
    texts = frozenset(value for value in values if isinstance(value, str))
    keys = frozenset(json_key(value) for value in values)
    containers = any(isinstance(value, dict | list) for value in values)
    pointer = site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        if isinstance(instance, str):
            found = instance in texts
        elif isinstance(instance, dict | list) and not containers:
            found = False
        else:
            key = json_key(instance)
            run.spend(len(key) >> 4, path, pointer)
            found = key in keys
        if not found:
            run.add(path, keyword, message, pointer)

    site.node.checks.append((None, check))


def bound_check(keyword: str, holds: Callable[[Json, Json], bool], words: str) -> Keyword:
    """Return a keyword that compares numbers with its value."""

    def compile_bound(site: Site, value: Json) -> None:
        if not is_number(value):
            return malformed(site, "a number")
        message, pointer = f"must be {words} {value}", site.pointer

        def check(instance: Json, path: Path, run: Run) -> None:
            if not holds(instance, value):
                run.add(path, keyword, message, pointer)

        site.node.checks.append(("number", check))

    return compile_bound


def check_multiple_of(site: Site, value: Json) -> None:
    if not is_number(value) or value <= 0:
        return malformed(site, "a number above 0")
    divisor, message, pointer = _decimal(value), f"must be a multiple of {value}", site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        if _decimal(instance) % divisor:
            run.add(path, "multipleOf", message, pointer)

    site.node.checks.append(("number", check))


def _decimal(value: Json) -> Fraction | int:
    """Return the number that was written: 0.1 is a tenth here, not the binary fraction next to it."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else Fraction(float.__repr__(value))
    return int(value)


def length_check(
    keyword: str, kind: str, holds: Callable[[int, int], bool], words: str, things: str
) -> Keyword:
    """Return a keyword that compares the length of instances of `kind` with its value."""

    def compile_length(site: Site, value: Json) -> None:
        if not is_count(value):
            return malformed(site, "a non-negative integer")
        count, pointer = int(value), site.pointer
        message = f"must have {words} {count} {things}"

        def check(instance: Json, path: Path, run: Run) -> None:
            if not holds(len(instance), count):
                run.add(path, keyword, message, pointer)

        site.node.checks.append((kind, check))

    return compile_length


def check_pattern(site: Site, value: Json) -> None:
    guarded = site.pattern(value)
    if guarded is None:
        return
    message, pointer = f"must match `{guarded.text}`", site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        if len(instance) > MAX_SUBJECT_CHARS:
            run.refuse(path, "pattern", TOO_LONG, pointer)
        elif not found(guarded, instance, path, run, pointer):
            run.add(path, "pattern", message, pointer)

    site.node.checks.append(("string", check))


def found(guarded: GuardedPattern, subject: str, path: Path, run: Run, pointer: str) -> bool:
    """Search for the pattern, at the run's expense."""
    run.spend(guarded.units(len(subject)), path, pointer)
    return guarded.found_in(subject)
