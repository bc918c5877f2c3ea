"""What of specs/ is generated is what its generator writes, and the OpenAPI document is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_schemas_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "web" / "build" / "schemas.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
