"""Writes specs/vectors/mutations.json: changed traces and Python's verdict on each, which TypeScript shares.

    python -m tests.unit.mutating [COUNT] [SEED] [FILE]

A case is a base trace and edits of its bytes, `[start, removed, inserted]` from the last to the first, where
`inserted` is text, or a list of bytes that are no UTF-8. Some cases have their hashes made anew, so that
nothing but the form of a line can be wrong with them.
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cra_wasm import hashing
from cra_wasm.trace.reader import read_lines
from cra_wasm.trace.verify import verify_lines

from .chaining import chain, fields, line_of, sealed, started

FILE: Final = Path(__file__).resolve().parents[2] / "specs/vectors/mutations.json"
ABOUT: Final = (
    "Changed traces and the verdict on each (PROTOCOL 3.4, 3.8), written by tests/unit/mutating.py. A case is"
    " a base and edits of its bytes, [start, removed, inserted] in the order in which to make them; inserted"
    " is text in UTF-8, or a list of bytes. Python and TypeScript run every case and must agree in all of it."
)
Edit = tuple[int, int, bytes]

BYTES: Final = [b"\x00", b"\t", b"\n", b"\r", b" ", b'"', b"0", b"\\", b"a", b"}", b"\x7f", b"\x80", b"\xff"]
JUNK: Final = [
    *BYTES,
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    "\u2028".encode(),
    "\U0001f600".encode(),
    b"\\u0041",
    b"\\ud800",
    b"null",
    b"NaN",
    b",",
    b'"n":1,',
    b'"__proto__":1,',
    b'"sequence":1,',
    b'"\\u006e":2,',
]
VALUES: Final = [
    *(
        "0",
        "1",
        "-1",
        "-0",
        "-0.0",
        "0.0",
        "1.0",
        "1.50",
        "1e2",
        "1E2",
        "1e+2",
        "100",
        "01",
        "+1",
        ".5",
        "1.",
        "0x1",
    ),
    *("1e21", "1e+21", "1E+21", "100000000000000000000", "1e-7", "1e-07", "0.0000001", "1e-6", "0.000001"),
    *(
        "9007199254740991",
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993",
        "1e16",
        "1e400",
        "-1e400",
    ),
    *("5e-324", "4.9e-324", "2e-324", "1e-400", "1.7976931348623157e+308", "1.7976931348623159e308"),
    *(
        "333333333.33333329",
        "333333333.3333333",
        "0.1",
        "0.30000000000000004",
        "NaN",
        "Infinity",
        "-Infinity",
    ),
    *("null", "true", "false", "True", "[]", "{}", "[1,]", "[,]", "{,}", '{"a":1,}', "[[[]]]", "''", '"\'"'),
    *(
        '""',
        '"\\u0000"',
        '"\\b\\f\\n\\r\\t"',
        '"\\u0008"',
        '"\\u001f"',
        '"\\u001F"',
        '"\\/"',
        '"/"',
        '"\\x41"',
    ),
    *(
        '"\\ud83d\\ude00"',
        '"\U0001f600"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\u2028\u2029\x7f\x80"',
        '"\x01"',
        '"\t"',
    ),
    *(
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":2}',
        '{"b":1,"a":2}',
        '{"1":1,"10":2,"2":3}',
        '{"10":1,"2":2,"1":3}',
    ),
    *(
        '{"\ufb33":1,"\U0001f600":2}',
        '{"\U0001f600":1,"\ufb33":2}',
        '{"__proto__":1}',
        '{"__proto__":1,"__proto__":2}',
    ),
    *(
        '{"":1}',
        '{"\\u0000":1}',
        '{"constructor":{"a":[1.5,null]}}',
        '{"hash_algorithm":"md5"}',
        '{"toString":1}',
    ),
    *("[" * depth + "]" * depth for depth in (62, 63, 64, 65, 66)),
    "[" * 63 + '{"a":1,"a":1}' + "]" * 63,
    "[" * 64 + '{"a":1,"a":1}' + "]" * 64,
]
NAMES: Final = ["sha256", "blake3", "SHA256", "md5", "", "x" * 50, "\U0001f600" * 41, 7, None, [], {"a": 1}]
UPPER: Final = "01A20896-5fbd-76bb-a6ca-9ff91d4b320b"
FIELDS: Final = {
    "event_id": ["", "x", UPPER, UPPER.replace("-", "").lower()],
    "parent_span_id": ["", UPPER],
    "timestamp": [
        "2026-11-23T13:26:42.000001",
        "2026-11-23T13:26:42.001Z",
        "\u0662026-11-23T13:26:42.000001Z",
    ],
    "event_type": [
        "",
        "note",
        "Note.x",
        "a.b.",
        "a..b",
        "a.b_",
        "_a.b",
        "a.\u00e9",
        "session.ended",
        "a.b\n",
    ],
    "event_hash": ["", "A" * 64, "0" * 63, "0" * 64],
    "previous_event_hash": ["", "0" * 64, "F" * 64],
    "session_id": ["", "01a20896-5fbb-702e-a97c-f91cc4970017"],
    "trace_version": ["1.1", "1", ""],
    "sequence": [-1, 0, 1, 2, 3, 4, 7, 2**53 - 1, 2**53],
}


def bases() -> dict[str, list[Any]]:
    """The events of the unchanged traces."""
    return {"sha256": chain(4), "blake3": chain(3, algorithm="blake3"), "open": chain(2, ended=False)}


class Changes:
    """Random changes of one base. Each returns the whole of the changed trace."""

    def __init__(self, events: list[Any], draw: random.Random) -> None:
        self.events = events
        self.lines = [line_of(event) for event in events]
        self.draw = draw

    def line(self) -> int:
        return self.draw.randrange(len(self.lines))

    def with_line(self, at: int, line: bytes) -> bytes:
        return b"".join([*self.lines[:at], line, *self.lines[at + 1 :]])

    def byte(self) -> bytes:
        data = bytearray(b"".join(self.lines))
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        return bytes(data)

    def junk(self) -> bytes:
        data = b"".join(self.lines)
        start = self.draw.randrange(len(data) + 1)
        removed = self.draw.choice([0, 0, 0, 1, 2, 7])
        return data[:start] + self.draw.choice(JUNK) + data[start + removed :]

    def cut(self) -> bytes:
        data = b"".join(self.lines)
        return data[: self.draw.randrange(len(data))]

    def order(self) -> bytes:
        lines = list(self.lines)
        kind = self.draw.choice(["drop", "double", "swap", "append"])
        at = self.line()
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "append":
            lines.append(line_of(sealed(fields(len(lines), self.events[-1].event_hash))))
        else:
            other = self.line()
            lines[at], lines[other] = lines[other], lines[at]
        return b"".join(lines)

    def member(self) -> bytes:
        """A field with another value of its kind or of another one, or without it, written canonically."""
        at = self.line()
        event = json.loads(self.lines[at])
        name = self.draw.choice(sorted(event))
        value = self.draw.choice([*FIELDS.get(name, []), None, 7, "x", [], {}, True, ...])
        if value is ...:
            del event[name]
        else:
            event[name] = value
        text = json.dumps(event, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return self.with_line(at, text.encode() + b"\n")

    def payload(self) -> bytes:
        """A payload of another spelling, and hashes that belong to it."""
        at = self.line()
        event = self.events[at]._asdict()
        del event["event_hash"], event["trace_version"]
        text = self.draw.choice(VALUES)
        if self.draw.random() < 0.8:
            text = f'{{"a":{text}}}' if self.draw.random() < 0.7 else f'{{"a":1,"b":[{text}],"c":"\u00e9"}}'
        event["payload_json"] = text
        return self.with_line(at, line_of(sealed(event, self.algorithm())))

    def name(self) -> bytes:
        """A first event that names a hash."""
        event = started(self.draw.choice(NAMES), sequence=self.draw.choice([0, 0, 0, 1]))
        return self.with_line(0, line_of(sealed(event, self.draw.choice(hashing.ALGORITHMS))))

    def boundary(self) -> bytes:
        """An event whose fields were cut elsewhere, under the hash of the true one."""
        at = self.line()
        event = self.events[at]._asdict()
        names = ["event_id", "trace_id", "span_id", "session_id", "timestamp", "event_type", "payload_json"]
        which = self.draw.randrange(len(names) - 1)
        left, right = names[which], names[which + 1]
        moved = self.draw.choice([1, 2, 8, 9])
        if self.draw.random() < 0.5:
            event[left], event[right] = event[left] + event[right][:moved], event[right][moved:]
        else:
            event[left], event[right] = event[left][:-moved], event[left][-moved:] + event[right]
        return self.with_line(at, line_of(type(self.events[at])(**event)))

    def algorithm(self) -> str:
        return "blake3" if '"blake3"' in self.events[0].payload_json else "sha256"


KINDS: Final[list[Callable[[Changes], bytes]]] = [
    *(Changes.payload, Changes.payload, Changes.payload, Changes.member, Changes.member, Changes.junk),
    *(Changes.junk, Changes.byte, Changes.boundary, Changes.order, Changes.name, Changes.cut),
]


def edit_between(before: bytes, after: bytes) -> Edit:
    """Return the one edit that makes `after` of `before`."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, len(before) - start - end, after[start : len(after) - end]


def verdict(data: bytes) -> dict[str, Any]:
    return verify_lines(read_lines(io.BytesIO(data))).to_dict()


def applied(base: bytes, edits: list[Any]) -> bytes:
    for start, removed, inserted in edits:
        new = inserted.encode() if isinstance(inserted, str) else bytes(inserted)
        base = base[:start] + new + base[start + removed :]
    return base


def cases(count: int, seed: int) -> list[dict[str, Any]]:
    """Return changed traces, each other than all before it."""
    draw = random.Random(seed)
    made: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    known = bases()
    while len(made) < count:
        base = draw.choice(list(known))
        kind = draw.choice(KINDS)
        changed = kind(Changes(known[base], draw))
        if changed in seen:
            continue
        seen.add(changed)
        start, removed, inserted = edit_between(b"".join(line_of(event) for event in known[base]), changed)
        try:
            shown: Any = inserted.decode()
        except UnicodeDecodeError:
            shown = list(inserted)
        edits = [[start, removed, shown]]
        made.append({"kind": kind.__name__, "base": base, "edits": edits, "result": verdict(changed)})
    return made


def main(arguments: list[str]) -> None:
    count, seed, file = [*arguments, *["400", "1", str(FILE)][len(arguments) :]]
    texts = {name: "".join(line_of(event).decode() for event in events) for name, events in bases().items()}
    # A case a line: a difference shows as the case that it is.
    rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases(int(count), int(seed)))
    head = json.dumps({"about": ABOUT, "bases": texts}, ensure_ascii=False, indent=1)[:-2]
    Path(file).write_text(f'{head},\n "cases": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
