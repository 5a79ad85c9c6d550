"""What the training episodes of a run came to, read from its store, so that a kill between an episode and its line loses nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.insertion import final_distance, saturation
from apprentice_store.store import Store

CURVE, INTERVENTIONS = "curve.jsonl", "interventions.jsonl"
TRAIN = "train"
TRAINING = f"kind = 'episode' and tag = '{TRAIN}'"
"""resets carry the tags of their episode, and are nobody's task"""


class Curve:
    """A row an episode, in their order: control steps so far, success, final distance, saturation of the policy. `folder`/curve.jsonl is
    the same for people. A run counts as solved after `solved` successes in a row that began after control step `since`, when the policy had
    begun to learn. It does not end there (spec 001c section 8 would): exploration inserts where the policy without it still gets stuck, and
    a base controller that inserts by itself would end a run before its residual knows what to do off the goal."""

    def __init__(self, store: Store, folder: Path, solved: int, since: int = 0):
        self.store, self.folder, self.solved, self.since = store, folder, solved, since
        self.rows: list[dict[str, Any]] = []
        (folder / CURVE).write_text("", encoding="utf-8")
        for episode_id in sorted(row.episode_id for row in store.episodes(TRAINING)):
            self.add(episode_id)

    def add(self, episode_id: str) -> None:
        episode = self.store.read(episode_id, ())
        row = {
            "env_steps": self.steps + len(episode), "learned": self.steps >= self.since, "success": bool(episode.outcome.success),
            "reason": episode.outcome.reason,
            "distance": round(final_distance(episode), 6), "bundle_id": episode.meta.get("bundle_id", ""),
            "saturated": saturation(np.clip(episode.actions["residual"] + episode.actions["noise"], -1, 1)),
        }
        self.rows.append(row)
        _append(self.folder / CURVE, row)

    @property
    def steps(self) -> int:
        return int(self.rows[-1]["env_steps"]) if self.rows else 0

    def _run_of_successes(self, end: int) -> bool:
        last = self.rows[max(0, end - self.solved) : end]
        return len(last) == self.solved and all(r["success"] and r["learned"] for r in last)

    @property
    def recent(self) -> str:
        last = self.rows[-self.solved :]
        return f"{sum(r['success'] for r in last)}/{len(last)} of the last episodes"

    def steps_to_solve(self) -> int | None:
        """Control steps when the run of successes was complete (B33); None where it never was."""
        for end in range(self.solved, len(self.rows) + 1):
            if self._run_of_successes(end):
                return int(self.rows[end - 1]["env_steps"])
        return None

    def intervention(self, reason: str) -> None:
        """A reset that needed a person (X13)."""
        _append(self.folder / INTERVENTIONS, {"env_steps": self.steps, "reason": reason})

    def summary(self) -> dict[str, Any]:
        """For result.json."""
        needed = self.folder / INTERVENTIONS
        return {
            "env_steps": self.steps, "episodes": len(self.rows), "steps_to_solve": self.steps_to_solve(),
            "saturated": float(np.mean([r["saturated"] for r in self.rows[-self.solved :]])) if self.rows else None,
            "interventions": len(needed.read_text(encoding="utf-8").splitlines()) if needed.is_file() else 0,
        }


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
