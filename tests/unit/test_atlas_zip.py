"""Zips that lie, hide, overflow or break: only findings come out, in bounded memory (PROTOCOL 1.10)."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.atlas import package_zip
from cra_wasm.atlas.loader import load_atlas, read_atlas
from cra_wasm.errors import CRAError
from cra_wasm.model.limits import MAX_PACKAGE_BYTES

from .building import accept_schema, manifest
from .packages import as_zip, content_of, findings_in

FILES: dict[str, Any] = {"atlas.json": manifest()}


def zip_with(name: str, content: bytes = b"x", **attributes: Any) -> bytes:
    """Return a package whose last entry has these attributes of a ZipInfo."""
    info = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("atlas.json", content_of(FILES["atlas.json"]))
        archive.writestr(info, content)
    return buffer.getvalue()


def renamed(data: bytes, old: str, new: str) -> bytes:
    """Return the zip with a name changed in place, where zipfile would not write it."""
    assert len(old) == len(new) and data.count(old.encode()) == 2
    return data.replace(old.encode(), new.encode())


@pytest.mark.parametrize(
    "name",
    [
        "/context/a.md",
        "//host/a.md",
        "../a.md",
        "context/../../a.md",
        "context/./a.md",
        "context//a.md",
        "C:/a.md",
        "c:a.md",
        "..\\..\\a.md",
        "context\\a.md",
        ".",
        "..",
        "context/..",
        "context/a\u202e.md",
        "x" * 256,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(name: str) -> None:
    ((file, _, code),) = findings_in(zip_with(name))
    assert code == "bad_path" and file == name[:255]


def test_a_name_with_a_nul_is_refused_whole() -> None:
    data = renamed(as_zip({**FILES, "context/a.mdX.exe": "x"}), "context/a.mdX.exe", "context/a.md\0.exe")
    ((file, _, code),) = findings_in(data)
    assert (file, code) == ("context/a.md\0.exe", "bad_path")


def test_an_entry_that_stands_twice_is_refused() -> None:
    data = renamed(
        as_zip({**FILES, "context/a.md": "a", "context/b.md": "b"}), "context/b.md", "context/a.md"
    )
    assert findings_in(data) == [("context/a.md", "", "duplicate_path")]


def test_a_file_that_is_a_folder_too_is_refused() -> None:
    assert findings_in(as_zip({**FILES, "tests/a": "a", "tests/a/b": "b"})) == [
        ("tests/a/b", "", "duplicate_path")
    ]


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (stat.S_IFLNK | 0o777, "symlink"),
        (stat.S_IFIFO | 0o666, "special_file"),
        (stat.S_IFCHR | 0o666, "special_file"),
        (stat.S_IFSOCK | 0o666, "special_file"),
    ],
)
@pytest.mark.parametrize("name", ["context/a.md", "README.md", "policies", "adapters/a"])
def test_links_and_special_files_are_refused_by_their_mode(name: str, mode: int, code: str) -> None:
    assert findings_in(zip_with(name, b"../../etc/passwd", external_attr=mode << 16)) == [(name, "", code)]


def test_an_encrypted_file_is_refused() -> None:
    data = bytearray(as_zip({**FILES, "context/a.md": "x"}))
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1
    assert findings_in(bytes(data)) == [("context/a.md", "", "encrypted_file")]


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 97, 98])
# PROTOCOL 1.10.7
def test_a_method_that_not_everyone_has_is_refused(method: int) -> None:
    data = bytearray(as_zip({**FILES, "context/a.md": "x"}))
    struct.pack_into("<H", data, data.rindex(b"PK\x01\x02") + 10, method)
    assert findings_in(bytes(data)) == [("context/a.md", "", "unsupported_compression")]


# PROTOCOL 1.10.8
def test_a_bomb_is_told_before_it_fills_the_memory() -> None:
    files = {**FILES, **{f"tests/{n}": b"\0" * 4_000_000 for n in range(5)}}
    data = as_zip(files)
    assert len(data) < 50_000
    tracemalloc.start()
    try:
        ((_, _, code),) = findings_in(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert code == "too_large"
    assert peak < 2 * MAX_PACKAGE_BYTES


def test_a_bomb_that_says_it_is_small_is_refused() -> None:
    data = bytearray(as_zip({**FILES, "context/a.md": b"\0" * 1_000_000}))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 10)
    assert findings_in(bytes(data)) == [("context/a.md", "", "corrupt_file")]


def test_entries_that_share_their_bytes_are_refused() -> None:
    # The classic bomb of overlapping entries: some versions of Python see it, others do not.
    data = as_zip({**FILES, "tests/a": b"\0" * 1000})
    at = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    again = bytearray(data[:at] + data[at:end] * 50 + data[end:])
    struct.pack_into("<HH", again, len(again) - 22 + 8, 51, 51)
    struct.pack_into("<I", again, len(again) - 22 + 12, end - data.index(b"PK\x01\x02") + 49 * (end - at))
    assert findings_in(bytes(again)) == [("tests/a", "", "corrupt_file")] * 50


def test_more_entries_than_files_may_be_are_refused_before_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = as_zip({**FILES, **{f"tests/{n}": "" for n in range(2000)}})
    monkeypatch.setattr(package_zip.zipfile, "ZipFile", lambda *_arguments: pytest.fail("it was listed"))
    assert findings_in(data) == [("", "", "too_many_files")]


def test_a_zip_over_16_mib_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_zip.zipfile, "ZipFile", lambda *_arguments: pytest.fail("it was read"))
    assert findings_in(b"PK" + b"\0" * MAX_PACKAGE_BYTES) == [("", "", "too_large")]


def test_a_zip_inside_is_data() -> None:
    inner = as_zip({"../../evil": "x"})
    files = {**FILES, "tests/inner.zip": inner, "context/inner.zip": inner}
    assert load_atlas(as_zip(files, zipfile.ZIP_STORED), check_schema=accept_schema)


@pytest.mark.parametrize("data", [b"PK", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 17, b"PK\x01\x02" * 30])
def test_bytes_that_only_begin_like_a_zip_are_refused(data: bytes) -> None:
    assert findings_in(data) == [("", "", "not_zip")]


def test_an_empty_zip_lacks_its_manifest() -> None:
    assert findings_in(as_zip({})) == [("atlas.json", "", "file_missing")]


def test_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("extract", "extractall"):
        monkeypatch.setattr(zipfile.ZipFile, name, lambda *_arguments: pytest.fail("it was unpacked"))
    load_atlas(as_zip(FILES), check_schema=accept_schema)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    st.none() | st.integers(2, 10_000),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_a_zip_with_changed_bytes_is_read_or_refused_with_findings(
    changes: list[tuple[int, int]], length: int | None, method: int
) -> None:
    files = {**FILES, "context/é.md": "text" * 20, "policies/a.json": [], "tests/x": b"\0" * 50}
    data = bytearray(as_zip(files, method))
    for place, value in changes:
        data[2 + place % (len(data) - 2)] = value
    try:
        read_atlas(bytes(data[:length]), check_schema=accept_schema)
    except CRAError as error:
        assert error.code == "invalid_atlas"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_findings(data: bytes) -> None:
    with pytest.raises(CRAError) as caught:
        read_atlas(b"PK" + data, check_schema=accept_schema)
    assert caught.value.code == "invalid_atlas"
