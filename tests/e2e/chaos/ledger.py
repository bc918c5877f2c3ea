"""What the pages of a chaos run said they had emitted and flushed, held against what is stored afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Told:
    """One session, as its page told of it. Sequences are -1 until there was one."""

    tab: int
    acked: int = -1
    emitted: int = -1
    excused: bool = False
    """The page was told that events of it could not join their chain: a fork or a gap, never silent."""
    ownerless: bool = False
    """Its page or its resolver is gone."""
    due: bool = False
    """A tab has started since: it must have ended."""
    deleted: bool = False
    """Its database was deleted by somebody."""


@dataclass(slots=True)
class Ledger:
    """Takes reports, and finds what contradicts them in the store."""

    sessions: dict[str, Told] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    """Ended and checked: these cannot change any more."""
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    own: dict[str, int] = field(default_factory=dict)
    """Heartbeats found in each runtime's own session."""
    own_ended: set[str] = field(default_factory=set)

    def take(self, text: str) -> None:
        """Take one report of a page."""
        told = json.loads(text)
        kind, session = told["kind"], told.get("session")
        if kind == "begun":
            self.sessions[session] = Told(tab=told["tab"])
        elif kind == "emitted":
            self.sessions[session].emitted = told["sequence"]
        elif kind == "acked":
            known = self.sessions[session]
            known.acked = max(known.acked, told["sequence"])
            known.emitted = max(known.emitted, told["sequence"])
            self.counts["flushes_acked"] += 1
        elif kind == "problem":
            self.counts[f"told_{told['code']}"] += 1
            if session in self.sessions:
                self.sessions[session].excused = True
            if told["code"] == "store_lost":
                self.violated(f"the browser gave up its database: {told['message']}")
        elif kind == "error":
            self.counts[f"call_{told['code']}"] += 1
        elif kind == "restarting":
            self.abandon(told["tab"])
        elif kind == "restarted":
            self.expect_recovery()

    def abandon(self, tab: int) -> None:
        """The tab or its resolver is gone, and nobody writes its sessions any more."""
        for told in self.sessions.values():
            if told.tab == tab:
                told.ownerless = True

    def expect_recovery(self) -> None:
        """A tab starts: it ends what has no owner now."""
        for told in self.sessions.values():
            told.due = told.ownerless

    def forget_all(self) -> None:
        """Somebody deleted the database."""
        for told in self.sessions.values():
            told.deleted = True

    def open_sessions(self) -> list[str]:
        return [session for session in self.sessions if session not in self.settled]

    def due_sessions(self) -> list[str]:
        """What has no owner and must end, now that a tab has started."""
        return [session for session in self.open_sessions() if self.sessions[session].due]

    def without_end(self, found: list[dict[str, Any]]) -> list[str]:
        """Of what was found, the sessions that must have ended and have not."""
        known = ((one["session"], one["ended"], self.sessions[one["session"]]) for one in found)
        return [session for session, ended, told in known if ended is None and told.due and not told.deleted]

    def check(self, wanted: list[str], found: list[dict[str, Any]]) -> None:
        """Hold what is stored of the wanted sessions against what was told of them before it was read."""
        stored = {one["session"]: one for one in found}
        for session in wanted:
            told, one = self.sessions[session], stored.get(session)
            if one is None:
                if told.acked >= 0 and not told.deleted:
                    self._violated(session, f"acknowledged up to {told.acked} and not stored at all")
                if told.due:
                    self.settled.add(session)
                continue
            self._check_one(session, told, one)

    def _check_one(self, session: str, told: Told, one: dict[str, Any]) -> None:
        if not one["valid"]:
            self._violated(session, f"does not verify: {one['error']}")
            return
        made_here = (one["gap"] is not None) + (one["ended"] == "interrupted")
        own = one["events"] - made_here
        if own <= told.acked and not told.deleted:
            self._violated(session, f"acknowledged up to {told.acked}, stored are {own} events")
        if one["ended"] is None:
            if told.due and not told.deleted:
                self._violated(session, "has no writer and was not ended")
            return
        self.settled.add(session)
        self.counts["events_stored"] += own
        self.counts["events_acked"] += told.acked + 1
        self.counts[f"ended_{one['ended']}"] += 1
        if one["gap"] is not None:
            self.counts["gaps_disclosed"] += 1
        missing = told.emitted + 1 - own
        if missing > 0 and not (told.excused or told.deleted):
            self.counts["unacked_missing_and_disclosed"] += missing
            bound = None if one["gap"] is None else one["gap"]["lost_at_most"]
            if one["gap"] is None or (bound is not None and bound < missing):
                self._violated(session, f"{missing} events are missing, disclosed is {one['gap']}")

    def known_sessions(self) -> list[str]:
        """What `check_own` need not see: the pages' sessions, and own ones that ended."""
        return [*self.sessions, *self.own_ended]

    def check_own(self, found: list[dict[str, Any]]) -> None:
        """Take what is stored of the runtimes' own sessions."""
        for one in found:
            if not one["valid"]:
                self.violated(f"own session {one['session']} does not verify: {one['error']}")
            self.own[one["session"]] = max(one["heartbeats"], self.own.get(one["session"], 0))
            if one["ended"]:
                self.own_ended.add(one["session"])

    def check_signed(
        self, found: list[dict[str, Any]], newest: Callable[[str], Mapping[str, Any] | None]
    ) -> None:
        """At the end: each stored end is signed, and the witness knows it."""
        for one in found:
            session, size, told = one["session"], one["size"], newest(one["session"])
            if one["signed"] != size:
                self.violated(f"{session} ended at {size} events and is signed at {one['signed']}")
            elif told is None or (told["size"], told["head"]) != (size, one["head"]):
                self.violated(f"{session} ended at {size} events, and the witness was told of {told}")
            self.counts["ends_signed_and_witnessed"] += 1

    def check_timers(self) -> None:
        """At the end of a long run: each kind of timer has acted."""
        if not sum(self.own.values()):
            self.violated("no heartbeat was stored, with one each second")
        if not self.counts["ended_timeout"]:
            self.violated("no session timed out, and many were left alone")

    def violated(self, what: str) -> None:
        """Something that no session is to blame for."""
        self.violations.append(what)

    def _violated(self, session: str, what: str) -> None:
        self.violations.append(f"{session} (tab {self.sessions[session].tab}): {what}")
