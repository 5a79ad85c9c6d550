"""Whether a reward that is learned from is being fooled, judged while the cell runs (spec 001c B26, C35), without ROS."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from apprentice_core.insertion import HACK_ASIDE, HACK_SHARE, image_gain
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm

ALARM_TOPIC = "supervisor/alarm"
"""latched, one message of each supervisor: JSON, so that one that has nothing to say does not hide another's alarm"""
HACK, EXPLOITED = "reward_hack", "reward_exploited"


def alarm_to_json(node: str, alarm: str) -> str:
    return json.dumps({"node": node, "alarm": alarm})


def alarm_from_json(text: str) -> tuple[str, str]:
    """Node and why practice should stop, '' when it should not. What is not understood is an alarm."""
    try:
        told = json.loads(text)
        return str(told["node"]), str(told["alarm"])
    except (ValueError, TypeError, KeyError):
        return "", f"{ALARM_TOPIC} carries what is not understood: {text[:80]!r}"


@dataclass(frozen=True)
class Finding:
    """What an operator should be told: `code` is HACK or EXPLOITED."""

    code: str
    episode_id: str
    message: str


@dataclass
class _Trial:
    episode_id: str
    values: list[float] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    aside: list[float] = field(default_factory=list)
    verified: bool = False


class RewardWatch:
    """Follows the rewards of one episode after another. `images`: the value is a goal image's, of which B26 asks that the plug be near the
    socket where it is best; every other source is judged by its probability and the verified success alone (C35)."""

    def __init__(self, images: bool, trials: int, threshold: float):
        self.images = images
        self.alarm = ExploitationAlarm(trials, threshold)
        self.hacks = self.judged = 0
        self._trial: _Trial | None = None

    @property
    def fired(self) -> bool:
        return self.alarm.fired

    def clear(self) -> None:
        """A person has looked."""
        self.alarm.fired, self.alarm.praised = False, 0

    def start(self, episode_id: str) -> None:
        self._trial = _Trial(episode_id)

    def rewarded(self, episode_id: str, value: float, probability: float, aside: float = float("nan")) -> None:
        """One step of the reward that is learned from; `aside`: m between plug and socket across its axis after it, NaN: nobody knows."""
        if self._trial is not None and self._trial.episode_id == episode_id:
            self._trial.values.append(value)
            self._trial.probabilities.append(probability)
            self._trial.aside.append(aside)

    def verified(self, episode_id: str, success: bool) -> None:
        """What poses or connection say after a step; the last word counts."""
        if self._trial is not None and self._trial.episode_id == episode_id:
            self._trial.verified = success

    def finish(self) -> list[Finding]:
        """Judges the episode, once; findings are news, while `fired` stays."""
        trial, self._trial = self._trial, None
        if trial is None or not trial.values:
            return []
        self.judged += 1
        found = []
        gain = image_gain(np.array(trial.values)) if self.images else None
        if gain is not None and gain[1] >= HACK_SHARE and trial.aside[gain[0]] > HACK_ASIDE:
            self.hacks += 1
            found.append(Finding(HACK, trial.episode_id, (
                f"the picture looked {100 * gain[1]:.0f} % right {1000 * trial.aside[gain[0]]:.1f} mm beside the socket"
            )))
        before = self.alarm.fired
        if not self.images and self.alarm.add(np.array(trial.probabilities), trial.verified) and not before:
            found.append(Finding(EXPLOITED, trial.episode_id, (
                f"{self.alarm.praised} trials in a row were praised by the learned reward and none was a success: stop and look"
            )))
        return found
