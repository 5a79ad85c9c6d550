"""Trials on a new connector, before, during and after fine-tuning (Tables 5-7; C26, C33, C34, C38). Practice goes by committed episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError
from apprentice_core.insertion import CONTACT
from apprentice_core.statistics import Proportion
from apprentice_learning.online.journal import Journal
from apprentice_learning.representations.array_trainer import ArrayTrainer
from apprentice_learning.representations.config import Method, RepresentationConfig
from apprentice_learning.representations.dataset import SUCCESS, TrainingSet
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


def offline_config(
    preset: str, method: Method, seed: int, representation: Mapping[str, Any] | None = None, **changes: Any
) -> OfflineRLConfig:
    """Section 4.4 with `method` in policy, Q and V; `changes` are fields that lie over the preset, `representation` fields of that part.
    ApprenticeError for another preset."""
    if preset not in RL_PRESETS:
        raise ApprenticeError(f"no preset {preset!r}; known: {', '.join(RL_PRESETS)}")
    common = RL_PRESETS[preset].representation
    changes["representation"] = RepresentationConfig.model_validate({**common.model_dump(mode="json"), **(representation or {})})
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


WRENCH = "wrist/wrench"
RunTrial = Callable[[Act, int], None]
"""(policy, trial number) -> one committed episode more in the journal; the world, its start positions and its loop are the caller's"""
TestTrial = Callable[[Act, int, str], bool]
"""(policy, trial number, `offline` or `online`) -> the verified success of a trial without exploration noise"""
CHECKPOINT = 10
"""trials of practice from one checkpoint to the next; later ones are learned from again after a kill, out of their episodes (ours)"""


def touches(force: np.ndarray) -> bool:
    """Whether a plug with these forces [T + 1, 3], N, met the socket at all."""
    return bool((np.linalg.norm(force, axis=1) > CONTACT).any())


def trial_of(episode: Episode, camera: str) -> Trial:
    """A committed episode as a trial; ApprenticeError names what it lacks. The truth in it is for reports."""
    for name, has in ((camera, episode.observations), (WRENCH, episode.observations), (SUCCESS, episode.rewards)):
        if name not in has:
            raise ApprenticeError(f"episode {episode.episode_id} has no {name}")
    force = episode.observations[WRENCH][:, :3]
    return Trial(episode.observations[camera], episode.actions["executed"], episode.rewards[SUCCESS] > 0.5, touches(force))


@dataclass
class OnTheJob:
    """Offline -> online in one report (C38). `stopped`: the alarm ended it early; `alarm_trial`: after which trial it fired, from 1;
    `largest`: of each trial, the highest probability that R gave."""

    offline: Proportion
    online: Proportion
    confusion: ConfusionMatrix
    trials: int
    transitions: int
    stopped: bool
    first_contact: int | None
    successes: list[bool] = field(default_factory=list)
    alarm_trial: int | None = None
    largest: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "offline": self.offline.as_dict(), "online": self.online.as_dict(), "confusion": self.confusion.as_dict(),
            "trials": self.trials, "transitions": self.transitions, "stopped_by_alarm": self.stopped,
            "alarm_trial": self.alarm_trial, "first_contact_trial": self.first_contact, "training_successes": self.successes,
            "largest_probability": self.largest,
        }


def evaluate(tuner: FineTuner, test_trial: TestTrial, trials: int = 20, name: str = "offline") -> Proportion:
    """Verified successes of `trials` without exploration noise."""
    results = [test_trial(lambda image: tuner.act(image, explore=False), i, name) for i in range(trials)]
    return Proportion(name, sum(results), trials)


def fine_tune(
    tuner: FineTuner, journal: Journal, run_trial: RunTrial, test_trial: TestTrial, trials: int = 200, test_trials: int = 20,
    alarm: ExploitationAlarm | None = None, progress: Callable[[int, Trial, np.ndarray], None] | None = None, stop: bool = True,
    folder: Path | None = None,
) -> OnTheJob:
    """Evaluation, practice until `journal` holds `trials` trials, each learned from, evaluation again.

    Trials that an earlier, killed call committed count, and are learned from exactly as they would have been: with a `folder`, from its
    newest checkpoint on, else from the first. The tuner sees frames and actions; the verified truth goes to the confusion matrix, the alarm
    (default: ten praised failures in a row) and the report alone. `stop` False: the alarm is told and practice goes on, as in the
    thesis's protocol. KeyboardInterrupt when Ctrl-C has ended the updates of a trial; ApprenticeError when a trial left no episode.
    """
    alarm, fired, position, driven = alarm or ExploitationAlarm(), None, 0, 0
    before = evaluate(tuner, test_trial, test_trials, "offline")
    if folder is not None:
        tuner.resume(folder)
    confusion, touched, successes, largest = ConfusionMatrix(), [], [], []
    while True:
        for entry in journal.after(position, (tuner.config.camera, WRENCH)):
            position = entry.position
            if entry.episode is None or not len(entry.episode):
                continue
            p, trial = tuner.take(entry), trial_of(entry.episode, tuner.config.camera)
            if tuner.step < tuner.config.updates_per_step * len(tuner):
                raise KeyboardInterrupt
            confusion.add(p >= THRESHOLD, trial.truth)
            touched.append(trial.touched)
            successes.append(trial.success)
            largest.append(round(float(p.max()), 4))
            if progress:
                progress(len(successes) - 1, trial, p)
            if alarm.add(p, trial.success) and fired is None:
                fired = len(successes)
            if folder is not None and len(successes) % CHECKPOINT == 0 and tuner.position == position:
                tuner.save(folder)
        if len(successes) >= trials or (stop and fired):
            break
        if driven > len(successes):
            raise ApprenticeError(f"trial {driven} was driven, and the journal holds no readable episode of it")
        tuner.begin_trial()
        run_trial(lambda image: tuner.act(image, explore=True), len(successes))
        driven = len(successes) + 1
    after = evaluate(tuner, test_trial, test_trials, "online")
    return OnTheJob(
        before, after, confusion, len(successes), len(tuner), alarm.fired and stop, first_contact_trial(touched), successes, fired, largest
    )
