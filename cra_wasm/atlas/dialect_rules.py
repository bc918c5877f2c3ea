"""Policies of another dialect that hold `rules[]`: read where nothing can come out laxer (PROTOCOL 1.11).

Nobody says in which order such rules are meant, nor how far their stars reach. Here a deny outweighs
everything, an approval outweighs an allow, and what no rule names is denied: of all orders the strictest. A
star may reach further than its author meant (here it stands for dots too), never less far where it is a whole
part of the id. So it may restrict, but not allow.
"""

from __future__ import annotations

from typing import Final

from ..errors import Json

_EFFECTS: Final = {
    "allow": "allow",
    "deny": "deny",
    "require_approval": "require_approval",
    "requires_approval": "require_approval",
}
_OF_POLICY: Final = frozenset({"policy_id", "id", "name", "description", "priority", "rules"})
_SHARED: Final = ("name", "description", "priority")
_OF_RULE: Final = frozenset({"effect", "actions", "description"})


def policies_of_rules(policy: dict[str, Json]) -> list[Json] | str:
    """Return a policy for each rule of a policy that has `rules`, or why they cannot be read."""
    foreign = sorted(policy.keys() - _OF_POLICY)
    if foreign:
        return f"beside them stands `{foreign[0]}`"
    rules = policy["rules"]
    if not isinstance(rules, list) or not rules:
        return "they are no list of rules"
    if "id" in policy and "policy_id" in policy:
        return "beside them stand `id` and `policy_id`"
    shared: dict[str, Json] = {
        name: policy[name] for name in ("name", "description", "priority") if name in policy
    }
    stem = policy.get("policy_id", policy.get("id"))
    if not isinstance(stem, str):
        return "beside them stands no `policy_id` that is text"
    found: list[Json] = []
    for index, rule in enumerate(rules):
        fault = _fault_of(rule)
        if fault is not None:
            return f"rule {index} {fault}"
        made: dict[str, Json] = {**shared, "policy_id": f"{stem}.{index}", "type": _EFFECTS[rule["effect"]]}
        found.append({**made, "actions": rule["actions"]})
    return found


def _fault_of(rule: Json) -> str | None:
    if not isinstance(rule, dict):
        return "is no object"
    foreign = sorted(rule.keys() - _OF_RULE)
    if foreign:
        return f"has `{foreign[0]}`, whose meaning cannot be told"
    effect, actions = rule.get("effect"), rule.get("actions")
    if not isinstance(effect, str) or effect not in _EFFECTS:
        return "has no `effect` that is allow, deny or require_approval"
    if not isinstance(actions, list) or not actions or not all(isinstance(one, str) for one in actions):
        return "has no `actions` with the ids that it is about"
    if effect == "allow":
        starred = next((one for one in actions if "*" in one), None)
        return None if starred is None else f"allows `{starred}`: a star may mean less there"
    partial = next((one for one in actions for part in one.split(".") if "*" in part and part != "*"), None)
    return None if partial is None else f"restricts `{partial}`: a star may mean more there"
