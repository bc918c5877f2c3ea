"""Any program can be asked, and nothing that one does makes the runner hang or pass."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cra_wasm
from cra_wasm import InvalidInput, NotFound
from cra_wasm.cli import main
from cra_wasm.conformance.program import NoAnswer, Program

pytestmark = pytest.mark.cpython_only(reason="starts other programs")

SUITE = Path(__file__).resolve().parents[2] / "specs" / "conformance"
PACKAGES = str(Path(cra_wasm.__file__).parents[1])
ANSWER = f"""
import sys
sys.path.insert(0, {PACKAGES!r})  # the cra_wasm that is tested here, whatever folder this is started in
from cra_wasm.cli import main
sys.exit(main(["conformance", "--answer"]))
"""
OWN = shlex.join([sys.executable, "-c", ANSWER])
QUESTION = {"id": "canonical-json.one", "area": "canonical-json", "input": {"json": "1.0"}}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """A function that makes a command of Python source."""

    def make(source: str) -> str:
        path = tmp_path / "a program.py"
        path.write_text(source, encoding="utf-8")
        return shlex.join([sys.executable, str(path)])

    return make


def report_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["conformance", "--cases", str(SUITE), "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_our_own_implementation_passes_over_the_wire(capsys: pytest.CaptureFixture[str]) -> None:
    status, report = report_of(capsys, "--implementation", OWN)
    assert (status, report["test_run"]["failed"]) == (0, 0)
    assert report["conformance_level"] == "CRA-Minimal"
    assert report["implementation"] == OWN


def test_a_program_that_says_yes_to_everything_fails(
    capsys: pytest.CaptureFixture[str], written: Callable[[str], str]
) -> None:
    yes = written(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'id': json.loads(line)['id'], 'answer': {'valid': True}}), flush=True)\n"
    )
    status, report = report_of(capsys, "--implementation", yes, "--area", "schema")
    assert status == 1
    assert report["conformance_level"] == "none"
    assert 0 < report["test_run"]["passed"] < report["test_run"]["failed"]


def test_a_program_may_not_skip_what_is_no_extension(
    capsys: pytest.CaptureFixture[str], written: Callable[[str], str]
) -> None:
    lazy = written(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'id': json.loads(line)['id'], 'skipped': 'no time'}), flush=True)\n"
    )
    status, report = report_of(capsys, "--implementation", lazy, "--area", "hash-chain")
    assert (status, report["test_run"]["passed"]) == (1, 0)
    assert report["test_run"]["skipped"] < report["test_run"]["failed"]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import time\ntime.sleep(60)", id="never answers"),
        pytest.param("import sys\nsys.stdin.readline()\nsys.exit(3)", id="ends without an answer"),
        pytest.param("raise SystemExit(1)", id="ends at once"),
        pytest.param("input()\nprint('no json', flush=True)\ninput()", id="writes no JSON"),
        pytest.param("input()\nprint('NaN', flush=True)\ninput()", id="writes NaN"),
        pytest.param('input()\nprint(\'{"a":1,"a":1}\', flush=True)\ninput()', id="repeats a member"),
        pytest.param("input()\nprint('[' * 100_000, flush=True)\ninput()", id="nests too deep"),
        pytest.param(
            "input()\nimport os\nos.write(1, b'\\xff\\n')\ninput()",
            id="writes no UTF-8",
        ),
        pytest.param(
            "input()\nimport sys\nwhile True: sys.stdout.write('x' * 65_536)", id="never ends its line"
        ),
        pytest.param(
            "import subprocess, sys\nsubprocess.Popen(['sleep', '60'])\nsys.exit(0)",
            id="leaves a child that holds its pipes",
        ),
    ],
)
def test_a_program_that_gives_no_answer_fails_the_case_and_does_not_hang(
    source: str, written: Callable[[str], str]
) -> None:
    with Program(written(source), timeout_seconds=2) as program:
        with pytest.raises(NoAnswer):
            program.ask(QUESTION)


def test_a_program_that_failed_is_started_anew_for_the_next_case(
    tmp_path: Path, written: Callable[[str], str]
) -> None:
    mark = tmp_path / "mark"
    source = (
        "import pathlib, sys\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "sys.stdin.readline()\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    sys.exit(1)\n"
        "print('7', flush=True)\n"
        "input()\n"
    )
    with Program(written(source), timeout_seconds=10) as program:
        with pytest.raises(NoAnswer):
            program.ask(QUESTION)
        assert program.ask(QUESTION) == 7


def test_a_second_line_fails_the_next_case(written: Callable[[str], str]) -> None:
    source = "while True:\n    input()\n    print('1\\n2', flush=True)\n"
    with Program(written(source), timeout_seconds=10) as program:
        assert program.ask(QUESTION) == 1
        with pytest.raises(NoAnswer):
            program.ask(QUESTION)
        assert program.ask(QUESTION) == 1


def test_a_large_question_reaches_a_program_that_answers_before_it_has_read_it(
    written: Callable[[str], str],
) -> None:
    source = (
        "import json, sys\n"
        "print(json.dumps('x' * 1_000_000), flush=True)\n"
        "print(len(sys.stdin.readline()), flush=True)\n"
    )
    with Program(written(source), timeout_seconds=10) as program:
        assert program.ask({"text": "y" * 1_000_000}) == "x" * 1_000_000


def test_the_command_is_split_as_a_shell_does_but_not_run_by_one(tmp_path: Path) -> None:
    with Program(f"cat ; touch {tmp_path / 'run'}", timeout_seconds=10) as program:
        with pytest.raises(NoAnswer):
            program.ask(QUESTION)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["", "  ", "a 'b"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Program(command)
    assert caught.value.code == "invalid_arguments"


def test_a_program_that_is_not_there_is_told() -> None:
    with Program("/no/such/program") as program, pytest.raises(NotFound) as caught:
        program.ask(QUESTION)
    assert caught.value.code == "no_such_program"


def test_a_program_that_ignores_the_end_of_its_input_is_ended(
    tmp_path: Path, written: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cra_wasm.conformance.program._FAREWELL_SECONDS", 0.2)
    source = "input()\nprint('1', flush=True)\nimport time\ntime.sleep(60)\n"
    program = Program(written(source), timeout_seconds=10)
    assert program.ask(QUESTION) == 1
    process = program._process
    assert process is not None
    program.close()
    assert process.returncode == -9
    program.close()


def test_the_report_of_a_terminal_names_what_failed(
    capsys: pytest.CaptureFixture[str], written: Callable[[str], str]
) -> None:
    status = main(
        [
            *("conformance", "--cases", str(SUITE), "--area", "context"),
            *("--implementation", written("raise SystemExit(4)"), "--timeout", "10"),
        ]
    )
    printed = capsys.readouterr().out
    assert status == 1
    assert "FAILED context.none (2.8.2): it ended with exit status 4 without an answer" in printed
    assert printed.splitlines()[-1].startswith("0 of ")


def test_missing_cases_are_told_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["conformance", "--cases", str(tmp_path / "none")]) == 2
    assert "cases_not_found" in capsys.readouterr().err


def test_a_program_that_ends_after_each_answer_leaves_nothing_behind(
    written: Callable[[str], str], tmp_path: Path
) -> None:
    once = written("import sys\nsys.stdin.readline()\nprint(1)\n")
    with Program(once) as program:
        assert program.ask(QUESTION) == 1
        process = program._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.wait()
        assert program.ask(QUESTION) == 1
        assert program._process is not process
        assert (process.stdin.closed, process.stdout.closed) == (True, True)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_a_time_that_nobody_can_wait_is_refused(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    status = main(
        ["conformance", "--cases", str(SUITE), "--json", "--implementation", OWN, f"--timeout={seconds}"]
    )
    assert status == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "invalid_arguments"


@pytest.mark.parametrize("raw", [b"\xff\n", b'"\xff"\n'])
def test_a_question_that_is_no_text_is_answered_as_such(raw: bytes) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ANSWER],
        input=raw,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        timeout=60,
        check=True,
    )
    assert json.loads(told.stdout) == {"id": None, "refused": {"code": "invalid_case", "pointer": ""}}
    assert told.stderr == b""
