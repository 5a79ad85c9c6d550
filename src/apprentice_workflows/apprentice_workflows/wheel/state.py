"""What a wheel has done: one record a step and turn, in a file that is replaced whole, so that a kill loses at most the step at work."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably

FORMAT = 1
STEPS = ("A", "B", "C", "D", "E", "F", "G")
TITLES = {
    "A": "demonstrations", "B": "everything into the store", "C": "sketches", "D": "reward model", "E": "relabel and train agents",
    "F": "execution and delusions", "G": "controlled evaluation",
}


def digest(data: Any) -> str:
    """Of plain JSON data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:16]


class WheelState:
    """`<out>/state.json`: identity (wheel and preset), and for each "<turn>/<step>": inputs' hash, outputs, partial results, seconds."""

    def __init__(self, out: Path, identity: Mapping[str, Any]):
        """ApprenticeError when the file is damaged, or belongs to another wheel or preset."""
        self.path, self.identity = out / "state.json", dict(identity)
        self.steps: dict[str, dict[str, Any]] = {}
        self.clocks: dict[str, float] = {}
        if not self.path.exists():
            out.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            form, known = saved["format"], saved["identity"]
            self.steps = {str(k): dict(v) for k, v in saved["steps"].items()}
            self.clocks = {str(k): float(v) for k, v in saved.get("clocks", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ApprenticeError(f"{self.path}: is not readable ({error}); move it aside to begin anew on the same episodes") from error
        if form != FORMAT or known != self.identity:
            raise ApprenticeError(f"{out} holds the wheel of {known}, not of {self.identity}: use another --out")

    @staticmethod
    def key(turn: int, step: str) -> str:
        return f"{turn}/{step}"

    def done(self, turn: int, step: str, inputs: Any = None) -> bool:
        """Whether the step was finished; with `inputs`, finished with these."""
        record = self.steps.get(self.key(turn, step), {})
        return "outputs" in record and (inputs is None or record["inputs"] == digest(inputs))

    def outputs(self, turn: int, step: str) -> dict[str, Any]:
        """ApprenticeError when the step has not been done."""
        record = self.steps.get(self.key(turn, step), {})
        if "outputs" not in record:
            raise ApprenticeError(f"step {step} ({TITLES[step]}) of turn {turn} has not been done yet")
        return dict(record["outputs"])

    def partial(self, turn: int, step: str, inputs: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the step decided when it began with these inputs (drawn once, kept over interruptions)."""
        record = self.steps.setdefault(self.key(turn, step), {"seconds": 0.0})
        if "partial" not in record or record.get("partial_of") != digest(inputs):
            record["partial"], record["partial_of"] = make(), digest(inputs)
            self._write()
        return dict(record["partial"])

    def run(self, turn: int, step: str, inputs: Any, work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """(outputs, whether work was done): skipped when it was finished with equal inputs. Time adds up over interruptions."""
        if self.done(turn, step, inputs):
            return self.outputs(turn, step), False
        record = self.steps.setdefault(self.key(turn, step), {"seconds": 0.0})
        began = time.monotonic()
        try:
            outputs = work()
        except BaseException:
            record["seconds"] += time.monotonic() - began
            self._write()
            raise
        record["seconds"] += time.monotonic() - began
        record.update(inputs=digest(inputs), outputs=outputs, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        self._write()
        return dict(outputs), True

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to a clock of its own, also when it is cut short: work on the wheel that is no step of it."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.clocks[name] = self.clocks.get(name, 0.0) + time.monotonic() - began
            self._write()

    @property
    def turns(self) -> int:
        """The last turn of which anything was done."""
        return max((int(k.split("/")[0]) for k in self.steps), default=0)

    @property
    def wall_s(self) -> float:
        return float(sum(r.get("seconds", 0.0) for r in self.steps.values()))

    def _write(self) -> None:
        content = {"format": FORMAT, "identity": self.identity, "steps": self.steps, "clocks": self.clocks}
        write_durably(self.path, json.dumps(content, indent=1))
