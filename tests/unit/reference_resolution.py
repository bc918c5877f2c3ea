"""PROTOCOL 2.2-2.5 and 2.8 written down slowly: what one resolve answers, as the JSON of it, and its events.
No code of the product, no compiled form, no cache. An atlas is its manifest, a dict."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import reference_evaluator as evaluator
from .reference_trace import Refused, Texts, time_text

IsFull = Callable[[dict[str, Any], dict[str, Any]], bool]
"""Whether a limit (second) of an atlas (first) has no room for the caller now."""


class Answer:
    """What one set of facts gives: the variable ids and times are the caller's to add."""

    def __init__(
        self,
        atlases: list[dict[str, Any]],
        facts: dict[str, Any],
        required_capabilities: list[str],
        hints: list[str],
        goal: str,
        is_full: IsFull,
    ) -> None:
        self.atlases = atlases
        self.facts = facts
        self.candidates = candidates(atlases, required_capabilities)
        self.verdicts = [
            evaluator.verdict(atlas, action, facts, full_limits(atlas, is_full))
            for atlas, action in self.candidates
        ]
        self.required = set(required_capabilities)
        came = [
            (atlas, block) for atlas, block in self.fitting_blocks() if self.is_triggered(block, goal, hints)
        ]
        self.blocks = [(atlas, block) for atlas, block in came if not block.get("is_cut")]
        self.cuts = [(atlas, block) for atlas, block in came if block.get("is_cut")]
        ends = [evaluator.window_answer_ends(window, facts["wall_ns"]) for window in self.windows_that_bear()]
        self.ends_wall_ns = min(ends, default=None)

    def capabilities(self) -> set[str]:
        return set().union(
            *(evaluator.capabilities_of(atlas, one["action_id"]) for atlas, one in self.candidates)
        )

    def fits(self, block: dict[str, Any], conditions: dict[str, Any]) -> bool | None:
        tier = self.facts["risk_tier"]
        if block.get("risk_tiers") and tier not in block["risk_tiers"]:
            return False
        return evaluator.conditions_hold(conditions, self.facts, tier, self.capabilities())

    def fitting_blocks(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        found = [
            (atlas, block)
            for atlas in self.atlases
            for block in self.blocks_of(atlas)
            if self.fits(block, block.get("conditions", {})) is True
        ]
        return sorted(found, key=lambda one: -one[1].get("priority", 100))

    def blocks_of(self, atlas: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the inline blocks, then a block for each file of each pack that belongs to this request."""
        found = list(atlas["context_blocks"])
        for pack in atlas.get("context_packs", []):
            owners = {
                one["capability_id"]
                for one in atlas["capabilities"]
                if pack["pack_id"] in one.get("context_packs", [])
            }
            if not (self.required and owners) or self.required & owners:
                found += pack_blocks(pack, atlas["files"])
        return found

    def is_triggered(self, block: dict[str, Any], goal: str, hints: list[str]) -> bool:
        keywords, globs = block.get("keywords", []), block.get("inject_when", [])
        return (
            not (keywords or globs)
            or any(hint in (block["context_id"], *keywords) for hint in hints)
            or any(evaluator.any_matches(globs, one["action_id"]) for _, one in self.candidates)
            or any(stands_in(keyword, goal) for keyword in keywords)
        )

    def windows_that_bear(self) -> list[dict[str, Any]]:
        """Return the windows that alone decide whether a policy acts on a candidate, or a block fits."""
        found = []
        for atlas, action in self.candidates:
            for policy in atlas["policies"]:
                window, rest = without_window(policy)
                if window is not None:
                    others = {**atlas, "policies": [{**policy, "type": "deny", "conditions": rest}]}
                    if evaluator.acting(others, action, self.facts):
                        found.append(window)
        for atlas in self.atlases:
            for block in self.blocks_of(atlas):
                window, rest = without_window(block)
                if window is not None and self.fits(block, rest) is not False:
                    found.append(window)
        return found

    def verdict_on(self, action_id: str) -> tuple[str, str | None]:
        names = [one["action_id"] for _, one in self.candidates]
        return self.verdicts[names.index(action_id)]

    def verdict_without(
        self, atlas: dict[str, Any], action: dict[str, Any], policies: list[dict[str, Any]]
    ) -> tuple[str, str | None]:
        """Return the verdict if the atlas had only these policies, and no limit were full."""
        return evaluator.verdict({**atlas, "policies": policies}, action, self.facts, set())

    def kind_of(self, atlas: dict[str, Any], policy_id: str) -> str | None:
        return next((one["type"] for one in atlas["policies"] if one["policy_id"] == policy_id), None)

    def awaits_approval(self, atlas: dict[str, Any], verdict: tuple[str, str | None]) -> bool:
        return self.kind_of(atlas, verdict[0]) == "require_approval"

    def decision(self) -> dict[str, Any]:
        reasons = [reason for _, reason in self.verdicts]
        awaiting = any(
            self.awaits_approval(atlas, verdict)
            for (atlas, _), verdict in zip(self.candidates, self.verdicts, strict=True)
        )
        kind, reason = "deny", "no_action_allowed"
        if not reasons:
            reason = "no_candidates"
        elif None in reasons:
            kind, reason = ("partial" if any(reasons) else "allow"), None
        elif awaiting:
            kind, reason = "requires_approval", "requires_approval"
        elif len(set(reasons)) == 1:
            reason = reasons[0]
        ends = self.ends_wall_ns
        expires_at = None if ends is None else time_text(ends)
        return {"type": kind, "reason": reason, "approval_id": None, "expires_at": expires_at}

    def constraints(self) -> list[dict[str, Any]]:
        found = []
        for _, action in self.candidates:
            if "rate_limit" in action:
                name = f"{action['action_id']}#rate_limit"
                told = {**action["rate_limit"], "actions": [action["action_id"]]}
                found.append({"constraint_id": name, "type": "rate_limit", "parameters": told})
        for atlas in self.atlases:
            for policy in evaluator.by_priority(atlas["policies"]):
                found += self.constraints_of(atlas, policy)
        return found

    def constraints_of(self, atlas: dict[str, Any], policy: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a policy tells the agent: limits where they act, the rest where it decided."""
        kind, parameters = policy["type"], dict(policy.get("parameters", {}))
        for name in ("redact", "redact_hash"):
            parameters.pop(name, None)
        window, _ = without_window(policy)
        decided = [
            action["action_id"]
            for (owner, action), (name, _) in zip(self.candidates, self.verdicts, strict=True)
            if owner is atlas and name == policy["policy_id"]
        ]
        acted_on = [
            action["action_id"]
            for owner, action in self.candidates
            if owner is atlas and policy in evaluator.acting(atlas, action, self.facts)
        ]
        if kind == "deny" or (kind == "allow" and window is None):
            return []
        actions = decided if kind in ("allow", "require_approval") else acted_on
        if not actions:
            return []
        if kind == "allow":
            kind, parameters = "time_window", {"timezone": "UTC", **(window or {})}
        elif kind == "scope":
            parameters = {"allowed": parameters}
        told = {**parameters, "actions": actions}
        return [{"constraint_id": policy["policy_id"], "type": kind, "parameters": told}]

    def to_dict(self) -> dict[str, Any]:
        """Return the members of a Resolution that have no id and no time of their own."""
        pairs = list(zip(self.candidates, self.verdicts, strict=True))
        return {
            "decision": self.decision(),
            "context_blocks": [block_part(atlas, block) for atlas, block in self.blocks],
            "allowed_actions": [action_part(action) for (_, action), (_, reason) in pairs if reason is None],
            "denied_actions": [
                {"action_id": action["action_id"], "reason": reason, "policy_id": name}
                for (_, action), (name, reason) in pairs
                if reason is not None
            ],
            "constraints": self.constraints(),
        }

    def events(self) -> Texts:
        """Return policy.evaluated of each candidate, context.injected of each block, and context.redacted of
        each file that was cut."""
        texts: Texts = []
        for (_, action), (name, reason) in zip(self.candidates, self.verdicts, strict=True):
            result = "allow" if reason is None else "deny"
            evaluated = {"policy_id": name, "result": result, "action_id": action["action_id"]}
            texts.append(("policy.evaluated", evaluated))
        for atlas, block in self.blocks:
            part = block_part(atlas, block)
            injected = {"block_id": part["block_id"], "source": part["source"]}
            texts.append(("context.injected", {**injected, "token_count": part["token_estimate"]}))
        for atlas, block in self.cuts:
            told = {"block_id": block["context_id"], "source": atlas["atlas_id"]}
            texts.append(("context.redacted", {**told, "redaction_reason": "token_budget"}))
        return texts

    def explanation(self) -> list[dict[str, Any]]:
        told = []
        for (atlas, action), (name, reason) in zip(self.candidates, self.verdicts, strict=True):
            policy = next((one for one in atlas["policies"] if one["policy_id"] == name), {})
            told.append(
                {
                    "action_id": action["action_id"],
                    "result": "allow" if reason is None else "deny",
                    "policy_id": name,
                    "policy_name": policy.get("name"),
                    "policy_type": policy.get("type"),
                    "reason": reason,
                }
            )
        return told


def candidates(
    atlases: list[dict[str, Any]], required_capabilities: list[str]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (atlas, action) of the candidates, or refuse a capability that no atlas has."""
    known = {one["capability_id"] for atlas in atlases for one in atlas["capabilities"]}
    for index, name in enumerate(required_capabilities):
        if name not in known:
            raise Refused("capability_not_found", f"/task/required_capabilities/{index}")
    return [
        (atlas, action) for atlas in atlases for action in evaluator.candidates(atlas, required_capabilities)
    ]


def full_limits(atlas: dict[str, Any], is_full: IsFull) -> set[str]:
    limits = [one for one in atlas["policies"] if one["type"] in ("rate_limit", "budget")]
    for action in atlas["actions"]:
        if "rate_limit" in action:
            name = f"{action['action_id']}#rate_limit"
            limits.append({"policy_id": name, "type": "rate_limit", "parameters": action["rate_limit"]})
    return {one["policy_id"] for one in limits if is_full(atlas, one)}


def without_window(holder: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    conditions = dict(holder.get("conditions", {}))
    return conditions.pop("time_window", None), conditions


def stands_in(keyword: str, goal: str) -> bool:
    """Whether the keyword's words stand in the goal side by side, whatever their case."""
    wanted, given = (re.findall(r"\w+", text.casefold()) for text in (keyword, goal))
    return bool(wanted) and any(given[place : place + len(wanted)] == wanted for place in range(len(given)))


def all_blocks(atlas: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return what an atlas has to tell, whoever asks and whatever is cut; nothing without an atlas."""
    if atlas is None:
        return []
    packs = [pack_blocks(pack, atlas["files"]) for pack in atlas.get("context_packs", [])]
    return [*atlas["context_blocks"], *(block for blocks in packs for block in blocks)]


def pack_blocks(pack: dict[str, Any], files: dict[str, str]) -> list[dict[str, Any]]:
    """Return a pack's files as blocks; the last are cut until the rest fits."""
    kept = list(pack["files"])
    while "max_tokens" in pack and sum((len(files[path]) + 3) // 4 for path in kept) > pack["max_tokens"]:
        kept.pop()
    types = {"md": "text/markdown", "txt": "text/plain", "json": "application/json"}
    return [
        {
            "context_id": path.replace("context", pack["pack_id"], 1),
            "content": files[path],
            "content_type": types[path.split(".")[-1]],
            "priority": pack.get("priority", 100),
            "conditions": pack.get("conditions", {}),
            "is_cut": path not in kept,
        }
        for path in pack["files"]
    ]


def block_part(atlas: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    return {
        "block_id": block["context_id"],
        "source": atlas["atlas_id"],
        "content_type": block.get("content_type", "text/markdown"),
        "content": block["content"],
        "priority": block.get("priority", 100),
        "token_estimate": (len(block["content"]) + 3) // 4,
    }


def action_part(action: dict[str, Any]) -> dict[str, Any]:
    part = {
        "action_id": action["action_id"],
        "name": action["name"],
        "description": action["description"],
        "parameters_schema": action.get("parameters_schema"),
        "returns_schema": action.get("returns_schema"),
        "risk_tier": action.get("risk_tier", "low"),
        "requires_confirmation": action.get("requires_confirmation", False),
        "idempotent": action.get("idempotent", False),
    }
    return {**part, "rate_limit": action["rate_limit"]} if "rate_limit" in action else part
