"""Run every linter and type checker, all of them even when one complains, and say which did."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from settings import ROOT, WEB

BIN = Path(sys.executable).parent
CHECKS: dict[str, tuple[Path, list[str | Path]]] = {
    "ruff check": (ROOT, [BIN / "ruff", "check", "--quiet", "."]),
    "ruff format": (ROOT, [BIN / "ruff", "format", "--check", "--quiet", "."]),
    "mypy --strict": (ROOT, [BIN / "mypy", "--no-error-summary"]),
    "tsc": (WEB, ["npm", "run", "--silent", "typecheck"]),
    "eslint": (WEB, ["npm", "run", "--silent", "lint"]),
}
REMEDIES = {"ruff format": ".venv/bin/ruff format .", "ruff check": ".venv/bin/ruff check --fix ."}


def main() -> int:
    failed = 0
    for name, (folder, command) in CHECKS.items():
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        verdict = "ok" if done.returncode == 0 else f"FAILED (exit {done.returncode})"
        print(f"  {name:<14} {verdict}, {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout.decode(errors="replace"), flush=True)
            if name in REMEDIES:
                print(f"  what to do: {REMEDIES[name]}", flush=True)
    print(f"{len(CHECKS) - failed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
