"""How a line of a trace ends and how long it may be, to the byte and to the character (PROTOCOL 3.4)."""

from __future__ import annotations

import io

import pytest

from cra_wasm.model.event import GENESIS_HASH
from cra_wasm.model.limits import MAX_PAYLOAD_CHARS
from cra_wasm.trace.profiles.lexemes import read_members
from cra_wasm.trace.reader import MAX_LINE_BYTES, BadLine, read_event, read_lines

from .chaining import chain, fields, line_of, sealed

MAX_TEXT_CHARS = MAX_PAYLOAD_CHARS + 4096
TWICE = b'{"a":1,"a":"'


def error_of(line: bytes) -> str:
    with pytest.raises(BadLine) as caught:
        read_event(line)
    assert str(caught.value) == caught.value.error
    return caught.value.error


def twice_with(chars: int, size_bytes: int) -> bytes:
    """A line that names a key twice, of so many characters and bytes, its line feed included in both."""
    room = chars - len(TWICE) - 3
    threes, rest = divmod(size_bytes - chars, 3)
    text = "\U0001f600" * threes + "\u00e9" * rest
    line = TWICE + (text + "x" * (room - len(text))).encode() + b'"}\n'
    assert (len(line.decode()), len(line)) == (chars, size_bytes)
    return line


@pytest.mark.parametrize("last", [b"", b"x", b" ", b"\r", b"\x00", b"}"])
def test_an_event_is_none_without_its_line_feed_whatever_stands_there(last: bytes) -> None:
    line = line_of(chain()[1])
    assert read_event(line).sequence == 1
    assert error_of(line[:-1] + last) == "bad_field"


def test_a_line_is_looked_into_up_to_its_longest_text() -> None:
    for chars, error in ((MAX_TEXT_CHARS + 1, "duplicate_key"), (MAX_TEXT_CHARS + 2, "bad_field")):
        assert error_of(twice_with(chars, chars)) == error


def test_a_line_is_looked_into_up_to_its_most_bytes_and_comes_whole_from_a_file_up_to_there() -> None:
    for size_bytes, error in ((MAX_LINE_BYTES, "duplicate_key"), (MAX_LINE_BYTES + 1, "bad_field")):
        line = twice_with(MAX_TEXT_CHARS, size_bytes)
        assert error_of(line) == error
        assert list(read_lines(io.BytesIO(line + b"next\n"))) == [line, b"next\n"]


def test_a_foreign_line_is_looked_into_up_to_its_most_characters_and_bytes() -> None:
    for chars, size_bytes, error in (
        (MAX_TEXT_CHARS, MAX_LINE_BYTES, "duplicate_key"),
        (MAX_TEXT_CHARS, MAX_LINE_BYTES + 1, "bad_field"),
        (MAX_TEXT_CHARS + 1, MAX_TEXT_CHARS + 1, "bad_field"),
    ):
        with pytest.raises(BadLine) as caught:
            read_members(twice_with(chars, size_bytes))
        assert caught.value.error == error


def test_what_is_longer_than_a_line_may_be_comes_in_pieces() -> None:
    pieces = list(read_lines(io.BytesIO(b"x" * (2 * MAX_LINE_BYTES + 3) + b"\n")))
    assert [len(piece) for piece in pieces] == [MAX_LINE_BYTES + 1, MAX_LINE_BYTES + 1, 2]
    assert error_of(pieces[0]) == "bad_field"


def test_an_event_whose_text_is_as_long_as_it_may_be_is_read() -> None:
    payload_json = '{"a":"' + "x" * (MAX_PAYLOAD_CHARS - 8) + '"}'
    room = MAX_TEXT_CHARS - len(sealed(fields(0, GENESIS_HASH, payload_json=payload_json)).to_json())
    longest, too_long = (
        fields(0, GENESIS_HASH, payload_json=payload_json, event_type="policy.evaluated" + "x" * more)
        for more in (room, room + 1)
    )
    assert len(read_event(line_of(sealed(longest))).payload_json) == MAX_PAYLOAD_CHARS
    assert error_of(line_of(sealed(too_long))) == "bad_field"
