"""The demo's numbers. All are ours; the paper's presets are in config/tasks/lift.yaml and config/learning."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class PolicyPlan:
    """One policy to train: its name in the report, the training config, its number of updates (0: the config's), its seed (-1: the
    config's)."""

    name: str
    config: str
    steps: int = 0
    seed: int = -1


@dataclass(frozen=True)
class DemoSettings:
    """What decides the demo's data and results; a run is only continued with equal settings."""

    quick: bool
    task: str = "lift_demo"
    expert: str = "lift_expert"
    expert_episodes: int = 110
    expert_noise: float = 0.2
    """sigma of the expert's recorded noise, in [-1, 1] units; the policy is taught the clean action"""
    random: str = "random_watcher"
    random_episodes: int = 20
    evaluation_episodes: int = 25
    policies: tuple[PolicyPlan, ...] = (PolicyPlan("bc", "bc_demo"), PolicyPlan("iql", "iql_demo"))
    target_rate: float = 0.8
    """success rate that the best learned policy is to reach"""

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


FULL = DemoSettings(quick=False)
QUICK = DemoSettings(
    quick=True,
    expert_episodes=8,
    random_episodes=2,
    evaluation_episodes=2,
    policies=(PolicyPlan("bc", "bc_demo", 200), PolicyPlan("iql", "iql_demo", 60)),
)
"""Shows that every part runs; so few episodes cannot teach the task, so the success targets are not judged."""
