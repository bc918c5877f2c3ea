"""`cra-wasm witness`: what it cannot use, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.cli import main
from cra_wasm.commands import witness as command
from cra_wasm.witness.server import witness_server

pytestmark = pytest.mark.cpython_only(reason="Pyodide has no listening sockets")


def test_without_the_package_it_never_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    database = tmp_path / "w.sqlite3"
    assert main(["witness", "--database", str(database), "--port", "0"]) == 2
    assert "signed_unavailable" in capsys.readouterr().err
    assert not database.exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--public-key", "a+b"], "checkpoint_malformed"),
        (["--allow-origin", "https://a.example/path"], "invalid_origin"),
        (["--max-sessions", "0"], "invalid_arguments"),
        (["--database", "no/such/folder/w.sqlite3"], "storage_failed"),
        (["--port", "70000"], "invalid_port"),
        (["--host", ""], "invalid_arguments"),
        (["--host", "\udcff"], "cannot_listen"),
    ],
)
def test_what_the_command_cannot_use_is_told(
    options: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["witness", "--port", "0", "--json", *options]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_an_interrupt_is_how_witnessing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Any] = []

    def serving(*arguments: Any, **options: Any) -> Any:
        made.append(witness_server(*arguments, **options))
        monkeypatch.setattr(made[0], "serve_forever", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        return made[0]

    monkeypatch.setattr(command, "witness_server", serving)
    assert main(["witness", "--database", str(tmp_path / "w.sqlite3"), "--port", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"url": f"http://127.0.0.1:{made[0].server_port}"}
    assert made[0].socket.fileno() == -1
