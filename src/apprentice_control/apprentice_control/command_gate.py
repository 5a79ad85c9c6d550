"""Which answer arm_node obeys: one per tick, the newest tick's only, in whatever order the messages come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """`action` is what to apply; None means hold for one period, for `reason`."""

    step_id: int
    episode_id: str
    action: Any
    reason: str = ""


class CommandGate:
    """Joins ticks with answers. Each method returns the decision that has become due, or None.

    DDS gives no order across topics: an answer that overtakes its tick waits for it. Everything for an older step, and every
    second answer, is dropped and counted.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._open = 0
        self._newest = 0
        self._episode = ""
        self._early_action: Any = None
        self._early_missing: tuple[int, str] | None = None

    @property
    def waiting(self) -> bool:
        """A tick has been given out and not been answered yet."""
        return self._open != 0

    def tick(self, step_id: int, episode_id: str, final: bool) -> Decision | None:
        if step_id <= self._newest:
            self.dropped += 1
            return None
        self._newest, self._episode, self._open = step_id, episode_id, 0 if final else step_id
        action, self._early_action = self._early_action, None
        missing, self._early_missing = self._early_missing, None
        if action is not None:
            decision = self.action(action)
            if decision is not None:
                return decision
        return self.missing(*missing) if missing is not None else None

    def action(self, action: Any) -> Decision | None:
        """`action` has `step_id` and `episode_id`."""
        if action.step_id > self._newest:
            if self._early_action is not None:
                self.dropped += 1
            self._early_action = action
            return None
        if action.step_id != self._open or not self._open:
            self.dropped += 1
            return None
        self._open = 0
        return Decision(action.step_id, self._episode, action)

    def missing(self, step_id: int, reason: str) -> Decision | None:
        """step_id 0: outside of episodes, hold for one period."""
        if step_id == 0:
            if self._open:
                self.dropped += 1
                return None
            return Decision(0, "", None, reason)
        if step_id > self._newest:
            self._early_missing = (step_id, reason)
            return None
        if step_id != self._open:
            self.dropped += 1
            return None
        self._open = 0
        return Decision(step_id, self._episode, None, reason)
