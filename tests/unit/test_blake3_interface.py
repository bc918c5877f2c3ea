"""What `import blake3` gives: PyPI's package on CPython and the wheel of native/blake3 inside Pyodide.

The same assertions hold both, so the wheel's interface and the types of its errors are PyPI's. A test that is
about one of the two only says so in its name.
"""

from __future__ import annotations

import array
import inspect
import sys
from typing import Any

import blake3 as module
import pytest
from blake3 import blake3

IN_PYODIDE = sys.platform == "emscripten"
KEY = bytes(range(32))
FOO = "04e0bb39f30b1a3feb89f536c93be15055482df748674b00d26e5a75777702e9"


class Index:
    """Not an int, and as good as one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Refuses:
    def __index__(self) -> int:
        raise ZeroDivisionError


BAD_BUFFERS: list[tuple[Any, type[Exception]]] = [
    ("text", TypeError),
    (7, TypeError),
    ([1, 2], TypeError),
    (object(), TypeError),
    (array.array("i", [1]), BufferError),
    (array.array("d"), BufferError),
    (memoryview(b"12345678").cast("q"), BufferError),
    (memoryview(b"1234").cast("?"), BufferError),
    (memoryview(b"abcd")[::2], BufferError),
    (memoryview(b"abcd")[::-1], BufferError),
]


@pytest.mark.parametrize(("bad", "error"), BAD_BUFFERS, ids=repr)
def test_what_is_no_contiguous_buffer_of_bytes_is_refused(bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        blake3(bad)
    with pytest.raises(error):
        blake3(key=bad)
    hasher = blake3(b"foo")
    with pytest.raises(error):
        hasher.update(bad)
    assert hasher.hexdigest() == FOO, "a refused update left a trace"


def test_a_released_memoryview_is_refused() -> None:
    view = memoryview(b"foo")
    view.release()
    with pytest.raises((ValueError, BufferError)):
        blake3(view)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": b""}, ValueError),
        ({"key": bytes(31)}, ValueError),
        ({"key": bytes(33)}, ValueError),
        ({"key": KEY, "derive_key_context": "c"}, ValueError),
        ({"key": KEY, "derive_key_context": ""}, ValueError),
        ({"derive_key_context": b"c"}, TypeError),
        ({"derive_key_context": 1}, TypeError),
        ({"derive_key_context": "\ud800"}, UnicodeEncodeError),
        ({"max_threads": 0}, ValueError),
        ({"max_threads": -2}, ValueError),
        ({"max_threads": 2**64}, OverflowError),
        ({"max_threads": -(2**64)}, OverflowError),
        ({"max_threads": 1.0}, TypeError),
        ({"max_threads": "1"}, TypeError),
        ({"max_threads": None}, TypeError),
        ({"max_threads": Refuses()}, ZeroDivisionError),
        ({"usedforsecurity": 1}, TypeError),
        ({"usedforsecurity": None}, TypeError),
        ({"data": b""}, TypeError),
        ({"string": b""}, TypeError),
        ({"multithreading": True}, TypeError),
    ],
    ids=repr,
)
def test_a_wrong_argument_of_the_constructor_is_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        blake3(**arguments)


def test_only_data_is_positional() -> None:
    with pytest.raises(TypeError):
        blake3(b"", KEY)
    with pytest.raises(TypeError):
        blake3().update()
    with pytest.raises(TypeError):
        blake3().update(b"", b"")
    with pytest.raises(TypeError):
        blake3().update(data=b"")


@pytest.mark.parametrize("name", ["digest", "hexdigest"])
@pytest.mark.parametrize(
    ("positional", "named", "error"),
    [
        ((-1,), {}, OverflowError),
        ((2**64,), {}, OverflowError),
        ((sys.maxsize + 1,), {}, OverflowError),
        ((1.0,), {}, TypeError),
        (("1",), {}, TypeError),
        ((None,), {}, TypeError),
        ((Refuses(),), {}, ZeroDivisionError),
        ((32, 0), {}, TypeError),
        ((), {"seek": -1}, OverflowError),
        ((), {"seek": 2**64}, OverflowError),
        ((), {"seek": 0.5}, TypeError),
        ((), {"seek": None}, TypeError),
        ((), {"seek": Refuses()}, ZeroDivisionError),
        ((), {"offset": 1}, TypeError),
    ],
    ids=repr,
)
def test_a_wrong_argument_of_an_output_is_refused(
    name: str, positional: tuple[Any, ...], named: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(blake3(b"foo"), name)(*positional, **named)


def test_a_hexdigest_longer_than_any_text_is_refused() -> None:
    with pytest.raises(OverflowError):
        blake3().hexdigest(sys.maxsize // 2 + 1)


@pytest.mark.parametrize("name", ["copy", "reset"])
def test_copy_and_reset_take_nothing(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(blake3(), name)(1)


def test_every_contiguous_buffer_of_bytes_gives_the_same_hash() -> None:
    data = b"foo"
    buffers = [
        data,
        bytearray(data),
        memoryview(data),
        memoryview(b"-foo-")[1:4],
        memoryview(data).cast("c"),
        memoryview(data).cast("b"),
        memoryview(b"foo").cast("B", (3, 1)),
        array.array("b", data),
        array.array("B", data),
    ]
    assert {blake3(each).hexdigest() for each in buffers} == {FOO}
    assert {blake3().update(each).hexdigest() for each in buffers} == {FOO}
    assert len({blake3(key=each(KEY)).digest() for each in (bytes, bytearray, memoryview)}) == 1


def test_none_stands_for_an_argument_left_out() -> None:
    assert blake3(None).digest() == blake3().digest() == blake3(b"").digest()
    assert blake3(b"foo", key=None, derive_key_context=None).hexdigest() == FOO


def test_update_can_be_chained_and_gives_the_very_object() -> None:
    hasher = blake3(b"f")
    assert hasher.update(b"o") is hasher
    assert hasher.update(b"").update(b"o").hexdigest() == FOO


def test_an_output_changes_nothing_and_a_shorter_one_is_a_beginning() -> None:
    hasher = blake3(b"foo")
    long = hasher.digest(length=200)
    assert hasher.digest(0) == b"" and hasher.hexdigest(0) == ""
    for length in (1, 31, 32, 63, 64, 65, 200):
        assert hasher.digest(length) == long[:length]
        assert hasher.hexdigest(length) == long[:length].hex()
        assert hasher.hexdigest(length, seek=3) == hasher.digest(length, seek=3).hex()
        assert hasher.digest(200 - length, seek=length) == long[length:]
    assert hasher.digest(Index(5), seek=Index(2)) == long[2:7]
    assert hasher.digest(True) == long[:1]
    assert hasher.hexdigest() == FOO


def test_the_output_reaches_to_the_end_of_what_64_bits_can_seek() -> None:
    assert blake3(b"foo").hexdigest(32, seek=2**64 - 64) == (
        "906dd3cd4af6aea1e2b9d5250eb3c11241c95439c2a8a13924f95b9ec185989c"
    )


def test_a_context_may_hold_any_text() -> None:
    contexts = ["", "a", "a\0b", "\N{GREEK SMALL LETTER ALPHA}", "\N{ROCKET}" * 500]
    assert len({blake3(derive_key_context=context).digest() for context in contexts}) == len(contexts)


def test_a_copy_goes_its_own_way() -> None:
    for modes in ({}, {"key": KEY}, {"derive_key_context": "c"}):
        first = blake3(bytes(5000), **modes)
        twin = first.copy()
        assert type(twin) is blake3 and twin is not first and twin.digest() == first.digest()
        first.update(b"more")
        assert twin.digest() == blake3(bytes(5000), **modes).digest()
        assert twin.update(b"more").digest() == first.digest()


def test_reset_forgets_the_bytes_and_keeps_the_mode() -> None:
    for modes in ({}, {"key": KEY}, {"derive_key_context": "c"}):
        hasher = blake3(bytes(5000), **modes)
        assert hasher.reset() is None
        assert hasher.digest() == blake3(**modes).digest()


def test_threads_may_be_named_and_change_nothing() -> None:
    for threads in (1, 2, Index(2), blake3.AUTO, True):
        assert blake3(b"foo", max_threads=threads, usedforsecurity=False).hexdigest() == FOO


def test_constants_stand_on_the_class_and_on_its_objects() -> None:
    for owner in (blake3, blake3()):
        assert (owner.name, owner.digest_size, owner.block_size, owner.key_size) == ("blake3", 32, 64, 32)
        assert owner.AUTO == -1
    assert isinstance(module.__version__, str) and len(module.__version__.split(".")) == 3


def test_the_class_is_final_and_its_objects_take_no_attributes() -> None:
    with pytest.raises(TypeError):
        type("Mine", (blake3,), {})
    with pytest.raises(AttributeError):
        blake3().anything = 1


@pytest.mark.parametrize("name", ["update", "digest", "hexdigest", "copy", "reset"])
def test_a_method_does_not_take_a_foreign_object(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(blake3, name)(object(), b"")


def test_signatures_can_be_asked_for() -> None:
    assert str(inspect.signature(blake3.digest)) == "(self, /, length=32, *, seek=0)"
    assert str(inspect.signature(blake3.update)) == "(self, data, /)"
    assert str(inspect.signature(blake3)) == (
        "(data=None, /, *, key=None, derive_key_context=None, max_threads=1, usedforsecurity=True)"
    )


def test_what_differs_from_pypi_is_what_the_readme_says() -> None:
    own = {"OUT_LEN", "KEY_LEN", "MAX_THREADS"}
    assert (own <= set(dir(blake3))) == (own <= set(dir(module))) == hasattr(module, "AUTO") == IN_PYODIDE
    assert hasattr(blake3, "update_mmap") == (not IN_PYODIDE)
    if IN_PYODIDE:
        assert module.__version__.partition("+")[2].startswith("crawasm")
        assert (module.OUT_LEN, module.KEY_LEN, module.MAX_THREADS, module.AUTO) == (32, 32, 1, -1)
        assert (blake3.OUT_LEN, blake3.KEY_LEN, blake3.MAX_THREADS) == (32, 32, 1)


def test_a_million_bytes_in_any_pieces_give_one_hash() -> None:
    data = bytes(range(251)) * 4000
    whole = blake3(data).digest()
    for size in (1023, 1024, 1025, 65_536, 333_333):
        hasher = blake3()
        for start in range(0, len(data), size):
            hasher.update(memoryview(data)[start : start + size])
        assert hasher.digest() == whole, size
