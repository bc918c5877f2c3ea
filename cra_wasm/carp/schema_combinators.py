"""The keywords that apply several schemas to one value: allOf, anyOf, oneOf, not, if (PROTOCOL 2)."""

from __future__ import annotations

from ..errors import Json
from .schema_keywords import Site, malformed
from .schema_run import Node, Path, Run


def check_all_of(site: Site, value: Json) -> None:
    nodes = _branches(site, value)
    site.apply_in_place(*nodes)

    def check(instance: Json, path: Path, run: Run) -> None:
        for node in nodes:
            node.apply(instance, path, run)

    site.node.checks.append((None, check))


def check_any_of(site: Site, value: Json) -> None:
    nodes, pointer = _branches(site, value), site.pointer
    site.apply_in_place(*nodes)
    message = f"must fit at least one of {len(nodes)} schemas"

    def check(instance: Json, path: Path, run: Run) -> None:
        for node in nodes:  # no generator: it would be one more frame in each level of nesting
            if run.passes(node, instance, path):
                return
        run.add(path, "anyOf", message, pointer)

    site.node.checks.append((None, check))


def check_one_of(site: Site, value: Json) -> None:
    nodes, pointer = _branches(site, value), site.pointer
    site.apply_in_place(*nodes)

    def check(instance: Json, path: Path, run: Run) -> None:
        count = 0
        for node in nodes:
            count += run.passes(node, instance, path)
        if count != 1:
            message = f"must fit exactly one of {len(nodes)} schemas, fits {count}"
            run.add(path, "oneOf", message, pointer)

    site.node.checks.append((None, check))


def _branches(site: Site, value: Json) -> list[Node]:
    if not isinstance(value, list) or not value:
        malformed(site, "an array of at least one schema")
        return []
    return [site.subschema(branch, index) for index, branch in enumerate(value)]


def check_not(site: Site, value: Json) -> None:
    node, pointer = site.subschema(value), site.pointer
    site.apply_in_place(node)

    def check(instance: Json, path: Path, run: Run) -> None:
        if run.passes(node, instance, path):
            run.add(path, "not", "must not fit the schema of not", pointer)

    site.node.checks.append((None, check))


def check_if(site: Site, value: Json) -> None:
    condition = site.subschema(value)
    then, otherwise = site.sibling("then"), site.sibling("else")
    site.apply_in_place(*(node for node in (condition, then, otherwise) if node))

    def check(instance: Json, path: Path, run: Run) -> None:
        node = then if run.passes(condition, instance, path) else otherwise
        if node:
            node.apply(instance, path, run)

    site.node.checks.append((None, check))
