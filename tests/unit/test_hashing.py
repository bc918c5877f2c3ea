"""`hashing.new`: two algorithms behind hashlib's interface, and no other hash where one is missing."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BackendFailure, InvalidInput, hashing

EMPTY = {
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "blake3": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
}
ABC = {
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "blake3": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
}

pytestmark = pytest.mark.parametrize("name", hashing.ALGORITHMS)


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    monkeypatch.delitem(hashing._constructors, "blake3", raising=False)
    monkeypatch.setitem(sys.modules, "blake3", None)


def test_known_digests_come_out(name: str) -> None:
    assert hashing.new(name).hexdigest() == EMPTY[name]
    assert hashing.new(name, b"abc").hexdigest() == ABC[name]


def test_the_attributes_are_those_of_hashlib(name: str) -> None:
    made = hashing.new(name)
    assert (made.name, made.digest_size, made.block_size) == (name, 32, 64)
    assert made.digest() == bytes.fromhex(EMPTY[name])


def test_a_copy_goes_on_alone(name: str) -> None:
    first = hashing.new(name, b"a")
    second = first.copy()
    second.update(b"bc")
    assert first.hexdigest() == hashing.new(name, b"a").hexdigest()
    assert second.hexdigest() == ABC[name]


@given(parts=st.lists(st.binary(max_size=3000), max_size=5))
def test_pieces_give_the_hash_of_the_whole(name: str, parts: list[bytes]) -> None:
    made = hashing.new(name)
    for part in parts:
        made.update(part)
    assert made.digest() == hashing.new(name, b"".join(parts)).digest()


def test_text_is_refused(name: str) -> None:
    with pytest.raises(TypeError):
        hashing.new(name, "abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("other", ["", "md5", "sha-256", "BLAKE3", "blake3 ", "sha512", None, 7, ["sha256"]])
def test_another_name_is_unknown(name: str, other: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        hashing.new(other)
    assert (caught.value.code, caught.value.details["pointer"]) == ("unknown_algorithm", "/hash_algorithm")


@pytest.mark.parametrize(
    ("in_pyodide", "remedy"), [(True, "loadPackage('blake3')"), (False, "cra-wasm[blake3]")]
)
def test_a_missing_package_is_an_error_that_says_how_to_get_it(
    name: str, in_pyodide: bool, remedy: str, without_blake3: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "IN_PYODIDE", in_pyodide)
    if name == "sha256":
        assert hashing.new(name, b"abc").digest() == hashlib.sha256(b"abc").digest()
        return
    with pytest.raises(BackendFailure) as caught:
        hashing.new(name)
    assert caught.value.code == "hash_unavailable"
    assert remedy in caught.value.message


def test_a_package_that_comes_later_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delitem(hashing._constructors, "blake3", raising=False)
        patch.setitem(sys.modules, "blake3", None)
        with pytest.raises(BackendFailure):
            hashing.new("blake3")
    assert hashing.new(name).hexdigest() == EMPTY[name]
