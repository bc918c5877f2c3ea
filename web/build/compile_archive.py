"""Runs inside Pyodide: turn the .py files of a zip or wheel into the bytecode of this very interpreter.

Pyodide would otherwise compile the standard library and every wheel anew at each boot, which is half of a
cold start. The .pyc files are "unchecked" (never compared with a source), and dates, modes and the order of
entries are fixed, so the same input gives the same bytes. bytecode.mjs calls `compile_archive`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import marshal
import zipfile

UNCHECKED_HASH = (0b01).to_bytes(4, "little")
FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def compile_archive(data: bytes, installed_under: str) -> bytes:
    """Return the archive with each `x.py` replaced by `x.pyc`; a wheel's tag and RECORD are made to fit.

    Args:
        data: a zip file; one with a `*.dist-info/WHEEL` is treated as a wheel.
        installed_under: the folder that tracebacks shall name as the home of the files.

    Raises:
        SyntaxError: a file is no Python that this interpreter reads.
    """
    entries: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".py"):
                entries[name + "c"] = compile_source(content, f"{installed_under}/{name}")
            else:
                entries[name] = content
    wheel_file = next((name for name in entries if name.endswith(".dist-info/WHEEL")), None)
    if wheel_file is not None:
        entries[wheel_file] = entries[wheel_file].replace(b"Tag: py2-none-any\n", b"")
        entries[wheel_file] = entries[wheel_file].replace(b"Tag: py3-none-any", b"Tag: cp314-none-any")
        record = wheel_file.removesuffix("WHEEL") + "RECORD"
        entries[record] = write_record(entries, record)
    return write_zip(entries)


def compile_source(source: bytes, filename: str) -> bytes:
    code = compile(source, filename, "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


def write_record(entries: dict[str, bytes], record: str) -> bytes:
    lines = []
    for name in sorted(entries):
        if name == record or name.endswith("/"):
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(entries[name]).digest()).rstrip(b"=").decode()
        quoted = f'"{name}"' if "," in name else name
        lines.append(f"{quoted},sha256={digest},{len(entries[name])}\n")
    return "".join([*lines, f"{record},,\n"]).encode()


def write_zip(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, FIXED_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
            target.writestr(info, entries[name])
    return out.getvalue()
