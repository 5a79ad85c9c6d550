"""How large an experiment of the wheel is. All numbers ours: the paper's table has ten trials a cell on one robot."""

from __future__ import annotations

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError
from apprentice_workflows.wheel.config import AgentPlan


class ExperimentSettings(Strict):
    """One preset: the wheel's preset that gives data and reward model, the agents that are compared, and how they are judged."""

    wheel_preset: str
    turns: int = Field(2, ge=1, description="turns of the wheel before its last reward model and store are taken as they are")
    compared_turns: int = Field(2, ge=2, description="Q4: turns whose chosen agents are compared; paper: up to 3")
    seeds: tuple[int, ...] = (0, 1, 2)
    agent: str = Field("", description="config/learning/<name>.yaml of all agents that are compared; empty: the wheel's first")
    steps: int = Field(0, ge=0, description="updates; 0: the config's")
    repeats: int = Field(34, ge=1, description="varied starts a set and agent: with 3 seeds 102 episodes a cell")
    parallel: int = Field(2, ge=1)

    def plan(self, agent: str, ablation: str = "") -> AgentPlan:
        """`agent`: config/learning/<name>.yaml, the same for all that are compared."""
        return AgentPlan.model_validate({"config": agent, "seeds": self.seeds, "steps": self.steps, "ablation": ablation})


PRESETS = {
    "paper": ExperimentSettings(wheel_preset="paper", turns=3, compared_turns=3),
    "small": ExperimentSettings(wheel_preset="small"),
    # Policies read tracked poses instead of pixels; sketches and the reward model (from pixels) are made as in `small`.
    # One turn and two seeds, so that eight agents fit into an hour of two cores.
    "lowdim": ExperimentSettings(wheel_preset="lowdim", turns=1, seeds=(0, 1), repeats=50),
    # Agents that see pixels on the store and reward model of lowdim's first turn: one seed, 12,000 of the config's 20,000 updates,
    # which is what an evening of two cores leaves room for.
    "pixels": ExperimentSettings(wheel_preset="lowdim", agent="d4pg_small", turns=1, seeds=(0,), steps=12_000),
    "tiny": ExperimentSettings(wheel_preset="tiny", turns=1, seeds=(0,), steps=2, repeats=1),
}


def settings(preset: str) -> ExperimentSettings:
    """ApprenticeError names the presets that there are."""
    if preset not in PRESETS:
        raise ApprenticeError(f"no preset {preset!r}; known: {', '.join(PRESETS)}")
    return PRESETS[preset]
