"""A part of a benchmark in a process of its own, so that its memory is its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_child(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m benchmarks.MODULE ARGUMENTS` prints in its last line, as JSON.

    Raises:
        CalledProcessError: it failed; its errors stand on standard error.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def peak_memory() -> float:
    """Of this process so far, in MiB. Not `getrusage`: a new program inherits its parent's figure there."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
