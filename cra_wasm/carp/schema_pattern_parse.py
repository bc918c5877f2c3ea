"""Regular expressions of JSON Schema's `pattern`, read by our own parser and run by `re` (PROTOCOL 2).

An atlas comes from outside, and `re` backtracks: a careless pattern can take centuries. So a pattern is
parsed here into a small tree, priced by `schema_pattern`, and only then written anew for `re`.
Rejected: reading `re._parser`'s tree, which is private and changes with Python's versions.

The language is ECMA 262 with the `u` flag, less what a backtracking engine cannot promise to end, and less
what `re` sees differently: literals, `.`, classes, `\\d \\w \\s` (digits and words are ASCII), the escapes
`\\t \\n \\r \\f \\v \\0 \\cX \\xHH \\uHHHH \\u{H...}`, groups, `|`, `* + ? {n} {n,} {n,m}` and their lazy
forms, `^`, `$`, `\\b`. Refused: backreferences, lookarounds, inline flags, `\\B`, `\\p`. `$` is the very end
of the text, never before a last newline.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from .schema_pattern_tree import (
    DIGITS,
    LINE_ENDS,
    MAX_CODE_POINT,
    SPACE,
    WORD,
    Assertion,
    Chars,
    Choice,
    Part,
    Ranges,
    Repeat,
    Sequence,
    chars,
    complement,
    union,
)

MAX_PATTERN_CHARS: Final = 1_024
MAX_GROUP_DEPTH: Final = 16
MAX_REPEAT: Final = 65_535
MAX_CLASS_WIDTH: Final = 4 * 65_536
"""`re` compiles a class in time with the characters that it names: this many take 12 ms."""

_CONTROLS: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_COUNTS: Final = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\}")
_QUANTIFIERS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class PatternRefused(ValueError):
    """The pattern is not of the language (`unsupported_pattern`) or may run too long (`unsafe_pattern`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse(text: str) -> Part:
    """Return the tree of `text`.

    Raises:
        PatternRefused: `unsupported_pattern`; the message names the offset in code points.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise PatternRefused("unsupported_pattern", f"pattern is longer than {MAX_PATTERN_CHARS} characters")
    parser = _Parser(text)
    part = parser.choice(0)
    if parser.at < len(text):
        parser.refuse("closes a group that is not open")
    return part


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.width = 0

    def refuse(self, why: str, *, at: int | None = None) -> NoReturn:
        place = self.at if at is None else at
        raise PatternRefused("unsupported_pattern", f"`{self.text[place : place + 8]}` at {place} {why}")

    def one_of(self, ranges: Ranges, *, negated: bool = False) -> Chars:
        made = chars(ranges, negated=negated)
        self.width += made.width
        if self.width > MAX_CLASS_WIDTH:
            self.refuse(f"ends classes that name more than {MAX_CLASS_WIDTH} characters together")
        return made

    def take(self, wanted: str) -> bool:
        """Step over `wanted` when it stands here."""
        if not self.text.startswith(wanted, self.at):
            return False
        self.at += len(wanted)
        return True

    def choice(self, depth: int) -> Part:
        if depth > MAX_GROUP_DEPTH:
            self.refuse(f"nests groups deeper than {MAX_GROUP_DEPTH}")
        branches = [self.sequence(depth)]
        while self.take("|"):
            branches.append(self.sequence(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def sequence(self, depth: int) -> Part:
        items: list[Part] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            items.append(self.quantified(self.atom(depth)))
        return Sequence(tuple(items))

    def quantified(self, body: Part) -> Part:
        start, counts = self.at, _COUNTS.match(self.text, self.at)
        if counts:
            self.at = counts.end()
            low = int(counts[1])
            high = int(counts[3]) if counts[3] else None if counts[2] else low
            if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
                self.refuse(f"is not a count of at most {MAX_REPEAT}, low before high", at=start)
        elif self.text[start : start + 1] in _QUANTIFIERS and start < len(self.text):
            low, high = _QUANTIFIERS[self.text[start]]
            self.at += 1
        else:
            return body
        if isinstance(body, Assertion):
            self.refuse("repeats a place, not a character", at=start)
        return Repeat(body, low, high, self.take("?"))

    def atom(self, depth: int) -> Part:
        start, char = self.at, self.text[self.at]
        self.at += 1
        match char:
            case "(":
                return self.group(start, depth)
            case "[":
                return self.char_class(start)
            case ".":
                return self.one_of(LINE_ENDS, negated=True)
            case "^" | "$":
                return Assertion(char)
            case "*" | "+" | "?" | "{" | "}" | "]":
                self.refuse("has nothing to repeat or to close: write a backslash before a literal", at=start)
            case "\\":
                if self.take("b"):
                    return Assertion("b")
                return self.one_of(self.escape(start))
        return self.one_of(((ord(char), ord(char)),))

    def group(self, start: int, depth: int) -> Part:
        if self.take("?") and not self.take(":"):
            name = re.compile(r"<[A-Za-z_$][A-Za-z0-9_$]*>").match(self.text, self.at)
            if name is None:
                self.refuse("is a lookaround or a flag, which are not supported", at=start)
            self.at = name.end()
        part = self.choice(depth + 1)
        if not self.take(")"):
            self.refuse("opens a group that is never closed", at=start)
        return part

    def escape(self, start: int) -> Ranges:
        """Read what follows a backslash: one code point, or one of the classes d D w W s S."""
        if self.at == len(self.text):
            self.refuse("escapes nothing", at=start)
        char = self.text[self.at]
        self.at += 1
        classes = {"d": DIGITS, "w": WORD, "s": SPACE}
        if char.lower() in classes and char.isascii():
            ranges = classes[char.lower()]
            return ranges if char.islower() else complement(ranges)
        if char == "0" and self.text[self.at : self.at + 1].isdigit():
            self.refuse("is an octal escape, which is not supported", at=start)
        if char in _CONTROLS:
            point = _CONTROLS[char]
        elif char in "xu":
            point = self.numbered(start, char)
        elif char == "c" and self.text[self.at : self.at + 1].isalpha() and self.text[self.at].isascii():
            point = ord(self.text[self.at]) % 32
            self.at += 1
        elif char.isascii() and not char.isalnum() and char != "_":
            point = ord(char)
        else:
            self.refuse("is a backreference or an escape that is not supported", at=start)
        return ((point, point),)

    def numbered(self, start: int, kind: str) -> int:
        braced = kind == "u" and self.take("{")
        if braced:
            end = self.text.find("}", self.at)
            digits, after = self.text[self.at : max(end, 0)], end + 1
        else:
            after = self.at + (2 if kind == "x" else 4)
            digits = self.text[self.at : after] if after <= len(self.text) else ""
        if not digits or len(digits) > 8 or not _HEX.issuperset(digits) or int(digits, 16) > MAX_CODE_POINT:
            self.refuse("is not a code point in hexadecimal", at=start)
        self.at, point = after, int(digits, 16)
        low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.text, after)
        # ECMA 262 joins two halves only where neither stands in braces.
        if 0xD800 <= point < 0xDC00 and low and not braced:
            self.at = low.end()
            point = 0x10000 + ((point - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        return point

    def char_class(self, start: int) -> Part:
        negated = self.take("^")
        members: list[Ranges] = []
        while not self.take("]"):
            first = self.member(start)
            if self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                last = self.member(start)
                if not _is_one(first) or not _is_one(last) or last[0][0] < first[0][0]:
                    self.refuse("holds a range that does not run from one character up to another", at=start)
                first = ((first[0][0], last[0][0]),)
            members.append(first)
        return self.one_of(union(*members), negated=negated)

    def member(self, start: int) -> Ranges:
        if self.at == len(self.text):
            self.refuse("opens a class that is never closed", at=start)
        place, char = self.at, self.text[self.at]
        self.at += 1
        if char != "\\":
            return ((ord(char), ord(char)),)
        if self.take("b"):
            return ((8, 8),)
        return self.escape(place)


def _is_one(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]
