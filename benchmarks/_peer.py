"""The d3rlpy package in an environment of its own, driven over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.common import say

PACKAGES = ("d3rlpy==2.8.1", "torch==2.13.0")
HERE = Path(__file__).resolve().parent


class Peer:
    """Made on first use; d3rlpy pins packages that the suite must not take over. `size`: algorithm (iql, td3, sac) and sizes."""

    def __init__(self, size: dict[str, Any]) -> None:
        folder = Path(os.environ.get("APPRENTICE_PEERS", HERE.parent / ".apprentice" / "peers")) / "d3rlpy"
        python = folder / "bin" / "python"
        done = folder / "installed.json"
        if not done.is_file() or json.loads(done.read_text()) != list(PACKAGES):
            say(f"making an environment for {PACKAGES[0]} (first use, about a minute)")
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
            done.write_text(json.dumps(PACKAGES))
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")} | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [python, HERE / "beside" / "d3rlpy_updates.py", json.dumps(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment,
        )
        while (line := self._line()) != "ready":
            if not line:
                raise RuntimeError(f"the peer ended with {self.process.wait()} before it was ready")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rate(self, updates: int) -> float:
        """Updates per second over so many."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{updates}\n")
        self.process.stdin.flush()
        return updates / float(self._line())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
