"""A documented subset of JSON Schema 2020-12, for the parameters and results of actions (PROTOCOL 2).

Supported: boolean schemas; type, enum, const; minimum, maximum, exclusiveMinimum, exclusiveMaximum,
multipleOf; minLength, maxLength, pattern; items, prefixItems, minItems, maxItems, uniqueItems, contains,
minContains, maxContains; properties, required, additionalProperties, patternProperties, propertyNames,
minProperties, maxProperties, dependentRequired; allOf, anyOf, oneOf, not, if, then, else; $defs, and $ref to
`#` or to a JSON Pointer in the same schema that leads to a subschema. Read and without effect: title,
description, default, examples, format, deprecated, readOnly, writeOnly, $comment, $schema (2020-12 only), and
$id at the root. Anything else refuses the schema when it is compiled: a keyword that is skipped would be a
check that is not made.

Nothing here runs for long or recurses without bound: schemas and instances nest at most 64 levels, a chain of
$ref at most 64, patterns are guarded (`schema_pattern`), and one validation takes a bounded number of steps.
An instance that breaks a limit fails. jsonschema and fastjsonschema were rejected: the first needs a native
wheel that WebAssembly does not have, the second skips keywords and runs generated code.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from urllib.parse import unquote

from ..errors import InvalidInput, Json
from .schema_links import find_loops
from .schema_pattern import GuardedPattern, PatternBook
from .schema_run import (
    Check,
    Enough,
    Node,
    OverLimit,
    Path,
    Run,
    SchemaError,
    escape,
    find_non_json,
    write_path,
)
from .schema_vocabulary import KEYWORDS

__all__ = ["SchemaError", "Validator", "compile_schema"]

MAX_SUBSCHEMAS: Final = 10_000

MAX_FINDINGS: Final = 100
"""Most findings that one refusal carries; `findings_total` has the number of all."""


class Validator:
    """A compiled schema. It has no state of its own: use it as often and from as many threads as you like."""

    __slots__ = ("_pointer", "_root")

    def __init__(self, root: Node, pointer: str) -> None:
        self._root = root
        self._pointer = pointer

    def errors(self, instance: Json, *, pointer: str = "", limit: int = 32) -> list[SchemaError]:
        """Return what is wrong with `instance`, in the schema's order; none means that it is valid.

        Never raises for an instance: a value that JSON does not have, or one over a limit, is an error too. A
        missing or forbidden member is reported at its own pointer. `anyOf`, `oneOf` and `not` give one error.

        Args:
            pointer: where the instance stands in the caller's document, put before each pointer.
            limit: most errors returned, at least one; the search ends there.
        """
        run = Run(pointer, max(limit, 1))
        if (fault := find_non_json(instance)) is not None:
            return [run.finding(*fault, self._pointer)]
        try:
            self._root.apply(instance, None, run)
        except Enough:
            pass
        except OverLimit as over:
            path, message, schema_pointer = over.args
            run.refusals.insert(0, run.finding(path, "limits", message, schema_pointer))
        except RecursionError:
            # The caller was deep in the stack already; an instance that was not checked is not valid.
            message = "nests too deep for the stack that the caller has left"
            run.refusals.insert(0, run.finding(None, "limits", message, self._pointer))
        return (run.refusals[:1] + run.errors)[: run.limit]


def compile_schema(schema: Json, *, pointer: str = "", patterns: PatternBook | None = None) -> Validator:
    """Return a validator for `schema`. The schema must not be changed afterwards.

    Args:
        pointer: where the schema stands in the caller's document, put before each pointer.
        patterns: those of the document, which share one limit; absent, the schema has a limit of its own.

    Raises:
        InvalidInput: `unsupported_schema` with the pointer of the first culprit and, as `findings`, each with
            pointer, code and message: `unsupported_keyword`, `malformed_keyword`, `malformed_schema`,
            `unsupported_pattern`, `unsafe_pattern`, `unresolved_ref`, `ref_loop`, `limits`.
    """
    compiler = _Compiler(pointer, patterns or PatternBook())
    if (fault := find_non_json(schema)) is not None:
        path, keyword, message = fault
        code = "limits" if keyword == "limits" else "malformed_schema"
        compiler.refuse(pointer + write_path(path), code, message)
    else:
        with suppress(_TooMany):
            root = compiler.subschema(schema, "")
            compiler.link()
            if not compiler.findings:
                return Validator(root, pointer)
    findings = compiler.findings
    raise InvalidInput(
        "unsupported_schema",
        f"`{findings[0]['pointer']}`: {findings[0]['message']}",
        pointer=findings[0]["pointer"],
        findings=findings[:MAX_FINDINGS],
        findings_total=len(findings),
    )


class _TooMany(Exception):
    """The schema has more subschemas than are compiled; a finding says so."""


class _Compiler:
    def __init__(self, pointer: str, patterns: PatternBook) -> None:
        self.prefix = pointer
        self.findings: list[Json] = []
        self.nodes: dict[str, Node] = {}
        self.references: list[tuple[Node, str]] = []
        self.targets: list[Node] = []
        """What the references lead to, once `link` has found it.

        INVARIANT: a reference holds this list, never its target. Nodes that hold each other in a long chain
        are freed by as deep a recursion in C, and that overflows the stack of WebAssembly.
        """
        self.applied: dict[Node, list[Node]] = {}
        self.patterns = patterns

    def refuse(self, pointer: str, code: str, message: str) -> None:
        self.findings.append({"pointer": pointer, "code": code, "message": message})

    def subschema(self, schema: Json, place: str) -> Node:
        """Compile the schema at `place`, a JSON Pointer from the root; once, however often asked for."""
        if (known := self.nodes.get(place)) is not None:
            return known
        node = self.nodes[place] = Node(self.prefix + place)
        if len(self.nodes) > MAX_SUBSCHEMAS:
            self.refuse(node.pointer, "limits", f"more than {MAX_SUBSCHEMAS} subschemas")
            raise _TooMany
        if isinstance(schema, dict):
            node.weight = 1 + len(schema) // 4
            for keyword, value in schema.items():
                site = _Site(self, schema, node, place, keyword)
                compile_keyword = KEYWORDS.get(keyword)
                if compile_keyword is None:
                    site.refuse(
                        "unsupported_keyword", f"keyword `{keyword[:60]}` is not supported: leave it out"
                    )
                else:
                    compile_keyword(site, value)
        elif schema is False:
            node.checks.append((None, _never(node)))
        elif schema is not True:
            self.refuse(node.pointer, "malformed_schema", "a schema must be an object, true or false")
        return node

    def link(self) -> None:
        """Resolve every $ref, refuse loops, and seal the nodes."""
        for node, target in self.references:
            found = self.nodes.get(unquote(target[1:])) if target.startswith("#") else None
            if found is None:
                message = f"`{target[:200]}` does not lead to a subschema here: write such as `#/$defs/name`"
                self.refuse(f"{node.pointer}/$ref", "unresolved_ref", message)
            else:
                self.targets.append(found)
                self.applied.setdefault(node, []).append(found)
        referring = {node for node, _ in self.references}
        for pointer, code, message in find_loops(self.nodes.values(), self.applied, referring):
            self.refuse(pointer, code, message)
        for node in self.nodes.values():
            node.seal()


class _Site:
    """The Site of one keyword (see `schema_keywords`)."""

    def __init__(
        self, compiler: _Compiler, schema: dict[str, Json], node: Node, place: str, keyword: str
    ) -> None:
        self._compiler = compiler
        self._owner = place
        self._place = f"{place}/{escape(keyword)}"
        self.schema = schema
        self.node = node
        self.pointer = compiler.prefix + self._place
        self.is_root = not place

    def refuse(self, code: str, message: str, *tokens: str | int) -> None:
        self._compiler.refuse(_below(self.pointer, tokens), code, message)

    def subschema(self, value: Json, *tokens: str | int) -> Node:
        return self._compiler.subschema(value, _below(self._place, tokens))

    def apply_in_place(self, *nodes: Node) -> None:
        self._compiler.applied.setdefault(self.node, []).extend(nodes)

    def sibling(self, keyword: str) -> Node | None:
        if keyword not in self.schema:
            return None
        return self._compiler.subschema(self.schema[keyword], f"{self._owner}/{keyword}")

    def pattern(self, text: Json, *tokens: str | int) -> GuardedPattern | None:
        if not isinstance(text, str):
            self.refuse("malformed_keyword", "must be a string", *tokens)
            return None
        guarded = self._compiler.patterns.find(text)
        if isinstance(guarded, GuardedPattern):
            return guarded
        self.refuse(guarded.code, guarded.message, *tokens)
        return None

    def known_pattern(self, text: str) -> GuardedPattern | None:
        guarded = self._compiler.patterns.find(text)
        return guarded if isinstance(guarded, GuardedPattern) else None

    def refer(self, target: str) -> None:
        targets, index = self._compiler.targets, len(self._compiler.references)
        self._compiler.references.append((self.node, target))

        def check(instance: Json, path: Path, run: Run) -> None:
            targets[index].apply(instance, path, run)

        self.node.checks.append((None, check))


def _below(place: str, tokens: tuple[str | int, ...]) -> str:
    return place + "".join("/" + escape(str(token)) for token in tokens)


def _never(node: Node) -> Check:
    def check(instance: Json, path: Path, run: Run) -> None:
        run.add(path, "false", "nothing is allowed here", node.pointer)

    return check
