"""The keywords of arrays and objects in the JSON Schema subset (PROTOCOL 2)."""

from __future__ import annotations

from ..errors import Json
from .schema_keywords import TOO_LONG, Site, found, is_count, is_names, malformed
from .schema_pattern import MAX_SUBJECT_CHARS, GuardedPattern
from .schema_run import Node, Path, Run, json_key

_SHOWN_CHARS = 60


def check_items(site: Site, value: Json) -> None:
    node, pointer = site.subschema(value), site.pointer
    prefix = site.schema.get("prefixItems")
    start = len(prefix) if isinstance(prefix, list) else 0
    forbidden = value is False

    def check(instance: Json, path: Path, run: Run) -> None:
        if forbidden and len(instance) > start:
            run.add((path, start), "items", f"must have at most {start} items", pointer)
        elif not forbidden:
            for index in range(start, len(instance)):
                node.apply(instance[index], (path, index), run)

    site.node.checks.append(("array", check))


def check_prefix_items(site: Site, value: Json) -> None:
    if not isinstance(value, list) or not value:
        return malformed(site, "an array of at least one schema")
    nodes = [site.subschema(schema, index) for index, schema in enumerate(value)]

    def check(instance: Json, path: Path, run: Run) -> None:
        for index, (item, node) in enumerate(zip(instance, nodes, strict=False)):
            node.apply(item, (path, index), run)

    site.node.checks.append(("array", check))


def check_unique_items(site: Site, value: Json) -> None:
    if not isinstance(value, bool):
        return malformed(site, "true or false")
    pointer = site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(instance):
            key = json_key(item)
            run.spend(1 + (len(key) >> 4), path, pointer)
            first = seen.setdefault(key, index)
            if first != index:
                run.add((path, index), "uniqueItems", f"equals item {first}", pointer)

    if value:
        site.node.checks.append(("array", check))


def check_contains(site: Site, value: Json) -> None:
    node, pointer = site.subschema(value), site.pointer
    low, high = site.schema.get("minContains", 1), site.schema.get("maxContains")
    if not is_count(low) or not (high is None or is_count(high)):
        return  # their own keywords report it
    high_pointer = pointer.removesuffix("contains") + "maxContains"

    def check(instance: Json, path: Path, run: Run) -> None:
        count = 0
        for index, item in enumerate(instance):
            count += run.passes(node, item, (path, index))
        if count < low:
            run.add(path, "contains", f"must contain at least {low} items that fit, has {count}", pointer)
        if high is not None and count > high:
            run.add(
                path, "maxContains", f"must contain at most {high} items that fit, has {count}", high_pointer
            )

    site.node.checks.append(("array", check))


def check_contains_count(site: Site, value: Json) -> None:
    """Check the value of minContains or maxContains; `contains` does the rest."""
    if not is_count(value):
        malformed(site, "a non-negative integer")


def check_properties(site: Site, value: Json) -> None:
    if not isinstance(value, dict):
        return malformed(site, "an object of schemas")
    nodes = [(name, site.subschema(schema, name)) for name, schema in value.items()]

    def check(instance: Json, path: Path, run: Run) -> None:
        for name, node in nodes:
            if name in instance:
                node.apply(instance[name], (path, name), run)

    site.node.weight += len(nodes) // 4
    site.node.checks.append(("object", check))


def check_pattern_properties(site: Site, value: Json) -> None:
    if not isinstance(value, dict):
        return malformed(site, "an object of schemas")
    pairs = [(site.pattern(text, text), site.subschema(schema, text)) for text, schema in value.items()]
    known = [(guarded, node) for guarded, node in pairs if guarded]
    pointer = site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        for name, member in instance.items():
            if len(name) > MAX_SUBJECT_CHARS:
                run.refuse(path, "patternProperties", f"has a member whose name {TOO_LONG}", pointer)
                continue
            for guarded, node in known:
                if found(guarded, name, path, run, pointer):
                    node.apply(member, (path, name), run)

    site.node.checks.append(("object", check))


def check_additional_properties(site: Site, value: Json) -> None:
    node, pointer = site.subschema(value), site.pointer
    names, guards = _named_properties(site)
    forbidden = value is False

    def check(instance: Json, path: Path, run: Run) -> None:
        for name, member in instance.items():
            if name in names or _matches_any(guards, name, path, run, pointer):
                continue
            if forbidden:
                shown = name[:_SHOWN_CHARS]
                run.add((path, name), "additionalProperties", f"`{shown}` is not a known property", pointer)
            else:
                node.apply(member, (path, name), run)

    site.node.checks.append(("object", check))


def _named_properties(site: Site) -> tuple[frozenset[str], list[GuardedPattern]]:
    named, patterns = site.schema.get("properties"), site.schema.get("patternProperties")
    names = frozenset(named) if isinstance(named, dict) else frozenset()
    guards = [site.known_pattern(text) for text in patterns] if isinstance(patterns, dict) else []
    return names, [guarded for guarded in guards if guarded]


def _matches_any(guards: list[GuardedPattern], name: str, path: Path, run: Run, pointer: str) -> bool:
    # A name too long for a pattern has been refused by patternProperties.
    return len(name) <= MAX_SUBJECT_CHARS and any(found(guard, name, path, run, pointer) for guard in guards)


def check_property_names(site: Site, value: Json) -> None:
    node: Node = site.subschema(value)

    def check(instance: Json, path: Path, run: Run) -> None:
        for name in instance:
            node.apply(name, (path, name), run)

    site.node.checks.append(("object", check))


def check_required(site: Site, value: Json) -> None:
    if not is_names(value):
        return malformed(site, "an array of property names, each once")
    names, pointer = tuple(value), site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        for name in names:
            if name not in instance:
                run.add((path, name), "required", f"`{name[:_SHOWN_CHARS]}` is missing", pointer)

    site.node.weight += len(names) // 16
    site.node.checks.append(("object", check))


def check_dependent_required(site: Site, value: Json) -> None:
    if not isinstance(value, dict):
        return malformed(site, "an object of arrays of property names")
    for trigger, names in value.items():
        if not is_names(names):
            malformed(site, "an array of property names, each once", trigger)
            return
    pointer = site.pointer

    def check(instance: Json, path: Path, run: Run) -> None:
        for trigger, names in value.items():
            if trigger in instance:
                for name in names:
                    if name not in instance:
                        message = f"`{name[:_SHOWN_CHARS]}` is missing beside `{trigger[:_SHOWN_CHARS]}`"
                        run.add((path, name), "dependentRequired", message, pointer)

    site.node.weight += sum(map(len, value.values())) // 16
    site.node.checks.append(("object", check))
