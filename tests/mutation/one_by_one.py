"""Mutation testing, by hand: `python tests/mutation/one_by_one.py carp/limits,trace/verify TEST_FILE...`.

Needs `pip install mutmut` beside what the tests need; see docs/TESTING.md. mutmut makes the mutants, and this
runs them: the tests are collected once, one run of them notes which lines each test reaches, and for every
mutant a fork puts the code of the mutated function in the function's place and runs the tests that reach its
lines, the quick ones first, until one fails. So no test is named by an id, no wrapper deepens the stack, and
a mutant takes as long as its tests. A function that does its work at import (see AT_IMPORT) is not judged,
nor is a default value.

Options come from the environment: SLOW, the seconds from which a test is left out (1); ALWAYS, parts of the
ids of tests to run whatever lines were noted, for those that end the stack and the noting with it; SECONDS,
after which a mutant's tests are ended (60).
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import libcst
import pytest
from mutmut.mutation.file_mutation import create_mutations

ROOT = Path(__file__).resolve().parents[2]
SLOW = float(os.environ.get("SLOW", "1"))
ALWAYS = [part for part in os.environ.get("ALWAYS", "").split(",") if part]
SECONDS = float(os.environ.get("SECONDS", "60"))
AT_IMPORT = {"bound_check", "length_check"}
"""Functions whose closures are made when their module is imported: put in place later, nothing changes."""


class Mutant:
    """One changed source of a module: which function it changes, and where."""

    def __init__(self, path: Path, source: str, changed: str, words: bool) -> None:
        self.words = words
        """Whether, as it seems, only the words of a message are changed: then a test need not tell."""
        old, new = source.split("\n"), changed.split("\n")
        self.first = next(n for n, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1])
        behind = next(
            n for n, pair in enumerate(zip(old[::-1], new[::-1], strict=False)) if pair[0] != pair[1]
        )
        self.last = max(self.first, len(old) - 1 - behind)
        self.text = "\n".join(
            [f"    - {line}" for line in old[self.first : self.last + 1]]
            + [f"    + {line}" for line in new[self.first : len(new) - behind]]
        )
        before, after = functions(path, source), functions(path, changed)
        # Also those that only moved by a line: they do what they did.
        self.code = {name: after[name] for name in before if after.get(name) != before[name]}

    @property
    def lines(self) -> set[int]:
        """Its lines from 1 on, and those beside them: of a call over several lines not each is noted."""
        return set(range(self.first, self.last + 3))


def functions(path: Path, source: str) -> dict[str, CodeType]:
    """Return the code of the functions and methods of a module by their qualified names.

    Not of comprehensions and lambdas outside of functions: they have done their work at the import.
    """
    found: dict[str, CodeType] = {}
    for each in _codes(compile(source, str(path), "exec", dont_inherit=True)):
        if each.co_flags & inspect.CO_NEWLOCALS:
            found[each.co_name] = each
        else:
            found |= {f"{each.co_name}.{inner.co_name}": inner for inner in _codes(each)}
    return {name: each for name, each in found.items() if "<" not in name}


def _codes(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def mutants_of(path: Path) -> list[Mutant]:
    """Return mutmut's mutants of a module's functions."""
    source = path.read_text()
    module, mutations, _, _ = create_mutations(str(path), source)

    def is_message(node: Any) -> bool:
        kinds = libcst.SimpleString | libcst.FormattedString | libcst.ConcatenatedString
        return isinstance(node, kinds) and module.code_for_node(node).count(" ") >= 2

    made = []
    for each in mutations:
        if not isinstance(each.contained_by_top_level_function, libcst.FunctionDef):
            continue
        old, new = each.original_node, each.mutated_node
        words = isinstance(old, libcst.SimpleString) and is_message(old)
        if isinstance(old, libcst.Call) and isinstance(new, libcst.Call) and len(old.args) == len(new.args):
            other = [a.value for a, b in zip(old.args, new.args, strict=True) if a is not b]
            words = len(other) == 1 and is_message(other[0])
        changed = module.deep_replace(old, new).code  # type: ignore[arg-type]
        if changed != source:
            made.append(Mutant(path, source, changed, words))
    return made


class OneByOne:
    """A plugin that runs mutants in place of the tests that pytest collected."""

    def __init__(self, modules: list[str]) -> None:
        self.paths = {str(ROOT / "cra_wasm" / f"{module}.py"): module for module in modules}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        seconds, reached = {}, {}
        for item in session.items:
            started = time.process_time()
            reached[item] = self._lines_of(item)
            seconds[item] = time.process_time() - started
            if self.failed:
                pytest.exit(f"{item.nodeid} fails without a mutant", 1)
        left_out = [item for item in session.items if seconds[item] >= SLOW]
        print("\nleft out:", *(item.nodeid for item in left_out), sep="\n    ")
        quick = sorted(set(session.items) - set(left_out), key=seconds.__getitem__)
        for path in self.paths:
            self._module(path, {item: reached[item].get(path, set()) for item in quick})
        return True

    def _lines_of(self, item: pytest.Item) -> dict[str, set[int]]:
        """Run one test and return the lines that it reaches."""
        lines: dict[str, set[int]] = {}

        def note(frame: FrameType, event: str, _argument: object) -> Any:
            if frame.f_code.co_filename not in self.paths:
                return None
            lines.setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
            return note

        threading.settrace(note)
        sys.settrace(note)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        sys.settrace(None)
        threading.settrace(None)
        return lines

    def _module(self, path: str, reached: dict[pytest.Item, set[int]]) -> None:
        counted: Counter[str] = Counter()
        for mutant in mutants_of(Path(path)):
            always = [item for item in reached if any(part in item.nodeid for part in ALWAYS)]
            items = [item for item, lines in reached.items() if lines & mutant.lines] + always
            if AT_IMPORT & mutant.code.keys() or not mutant.code:
                verdict = "not judged"
            else:
                verdict = self._in_a_fork(self.paths[path], mutant, items)
            if mutant.words and verdict == "lives":
                verdict = "words"
            counted[verdict] += 1
            if verdict not in ("killed", "words"):
                print(f"{verdict} in line {mutant.first + 1}, {len(items)} tests\n{mutant.text}", flush=True)
        print(self.paths[path], dict(counted), flush=True)

    def _in_a_fork(self, module: str, mutant: Mutant, items: list[pytest.Item]) -> str:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(self._run(module, mutant, items))
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return {0: "lives", 1: "killed"}.get(os.waitstatus_to_exitcode(status), "broken")
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "out of time"

    def _run(self, module: str, mutant: Mutant, items: list[pytest.Item]) -> int:
        try:
            for name, code in mutant.code.items():
                owner: Any = sys.modules["cra_wasm." + module.replace("/", ".")]
                for part in name.split("."):
                    owner = vars(owner)[part]
                function = owner.fget if isinstance(owner, property) else getattr(owner, "__func__", owner)
                inspect.unwrap(function).__code__ = code
            for item in items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if self.failed:
                    return 1
        except BaseException:
            traceback.print_exc()
            return 2
        return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    options = ["-q", "-s", "-p", "no:cacheprovider", "--no-shrinking", "--examples=20"]
    sys.exit(pytest.main([*options, *sys.argv[2:]], plugins=[OneByOne(sys.argv[1].split(","))]))
