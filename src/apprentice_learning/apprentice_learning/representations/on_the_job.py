"""Trials on a new connector, before, during and after fine-tuning, on plain arrays (Tables 5-7; C26, C33, C34, C38)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_core.statistics import Proportion
from apprentice_learning.representations.array_trainer import ArrayTrainer
from apprentice_learning.representations.config import Method
from apprentice_learning.representations.dataset import TrainingSet
from apprentice_learning.representations.evaluation import reward_config
from apprentice_learning.representations.fine_tuning import THRESHOLD, FineTuner
from apprentice_learning.representations.frame_models import RewardTrainer
from apprentice_learning.representations.offline_rl import RL_PRESETS, OfflineRLConfig, OfflineTrainer
from apprentice_learning.rewards.self_reward_checks import ConfusionMatrix, ExploitationAlarm, first_contact_trial
from apprentice_learning.run_state import ProgressCallback

Act = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""image -> (mean action, noise on top of it)"""

ABLATION: dict[str, tuple[Method, Method]] = {"daib_daib": ("daib", "daib"), "daib_erm": ("daib", "erm"), "erm_erm": ("erm", "erm")}
"""Table 7: (method of the reward model, method of policy, Q and V)"""


def finish(trainer: ArrayTrainer, steps: int, folder: Path | None, progress: ProgressCallback | None = None) -> None:
    """Goes on from the folder's newest checkpoint to `steps`; KeyboardInterrupt when someone stopped it before."""
    if folder is not None:
        trainer.resume(folder)
    trainer.run(steps, folder, progress=progress)
    if trainer.step < steps:
        raise KeyboardInterrupt


def offline_config(preset: str, method: Method, seed: int, **changes: Any) -> OfflineRLConfig:
    """Section 4.4 with `method` in policy, Q and V; `changes` are fields that lie over the preset. ApprenticeError for another preset."""
    if preset not in RL_PRESETS:
        raise ApprenticeError(f"no preset {preset!r}; known: {', '.join(RL_PRESETS)}")
    return RL_PRESETS[preset].model_copy(update={"policy": method, "value": method, "critic": method, "seed": seed, **changes})


def train_arm(
    arm: str, training: TrainingSet, seed: int, preset: str = "small", folder: Path | None = None, device: str = "cpu"
) -> tuple[RewardTrainer, OfflineTrainer]:
    """Reward model and offline policy of an arm of ABLATION, trained (C33). With a folder, checkpoints go to its `reward` and `policy`, and
    the same call goes on from them. ApprenticeError for another arm or preset."""
    if arm not in ABLATION:
        raise ApprenticeError(f"no arm {arm!r}; known: {', '.join(ABLATION)}")
    of_reward, of_policy = ABLATION[arm]
    reward = RewardTrainer(reward_config(of_reward, seed, preset), training, device)
    finish(reward, reward.config.steps, folder and folder / "reward")
    policy = OfflineTrainer(offline_config(preset, of_policy, seed), training, device)
    finish(policy, policy.config.steps, folder and folder / "policy")
    return reward, policy


@dataclass(frozen=True)
class Trial:
    """What a world gives back of one trial: frames uint8 [T + 1, H, W, 3]; actions as executed float32 [T, A]; truth bool [T]: whether
    the plug was verified to be in behind each step; touched: whether it met the socket at all."""

    frames: np.ndarray
    actions: np.ndarray
    truth: np.ndarray
    touched: bool

    @property
    def success(self) -> bool:
        """In at the end of the trial."""
        return bool(len(self.truth) and self.truth[-1])


RunTrial = Callable[[Act, int], Trial]
"""(policy, trial number) -> the trial; the world, its start positions and its control loop are the caller's"""


@dataclass
class OnTheJob:
    """Offline -> online in one report (C38). `stopped`: the alarm ended it early; `alarm_trial`: after which trial it fired, from 1."""

    offline: Proportion
    online: Proportion
    confusion: ConfusionMatrix
    trials: int
    transitions: int
    stopped: bool
    first_contact: int | None
    successes: list[bool] = field(default_factory=list)
    alarm_trial: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "offline": self.offline.as_dict(), "online": self.online.as_dict(), "confusion": self.confusion.as_dict(),
            "trials": self.trials, "transitions": self.transitions, "stopped_by_alarm": self.stopped,
            "alarm_trial": self.alarm_trial, "first_contact_trial": self.first_contact, "training_successes": self.successes,
        }


def evaluate(tuner: FineTuner, run_trial: RunTrial, trials: int = 20, name: str = "offline") -> Proportion:
    """Verified successes of `trials` without exploration noise."""
    results = [run_trial(lambda image: tuner.act(image, explore=False), i).success for i in range(trials)]
    return Proportion(name, sum(results), trials)


def fine_tune(
    tuner: FineTuner, train_trial: RunTrial, test_trial: RunTrial, trials: int = 200, test_trials: int = 20,
    alarm: ExploitationAlarm | None = None, progress: Callable[[int, Trial, np.ndarray], None] | None = None, stop: bool = True,
) -> OnTheJob:
    """Evaluation, `trials` trials of practice with their updates, evaluation again. The tuner sees frames and actions; the verified
    truth goes to the confusion matrix, the alarm (default: ten praised failures in a row) and the report alone. `stop` False: the alarm
    is told and practice goes on, as in the thesis's protocol."""
    alarm, fired = alarm or ExploitationAlarm(), None
    before = evaluate(tuner, test_trial, test_trials, "offline")
    confusion, touched, successes = ConfusionMatrix(), [], []
    for i in range(trials):
        trial = train_trial(lambda image: tuner.act(image, explore=True), i)
        p = tuner.learn(trial.frames, trial.actions)
        confusion.add(p >= THRESHOLD, trial.truth)
        touched.append(trial.touched)
        successes.append(trial.success)
        if progress:
            progress(i, trial, p)
        if alarm.add(p, trial.success):
            fired = i + 1 if fired is None else fired
            if stop:
                break
    after = evaluate(tuner, test_trial, test_trials, "online")
    return OnTheJob(
        before, after, confusion, len(successes), len(tuner), alarm.fired and stop, first_contact_trial(touched), successes, fired
    )
