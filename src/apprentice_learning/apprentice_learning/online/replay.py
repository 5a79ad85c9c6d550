"""Replay memory fed by episodes (spec 001c section 2.2): residual actions with their noise, true terminals, one base controller."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError
from apprentice_core.images import box_reduce
from apprentice_core.streams import TRACKED
from apprentice_learning.data.batch import Batch, MixedBatch
from apprentice_learning.data.columns import goal_rows
from apprentice_learning.networks.vector_input import GOAL

ActionKind = Literal["residual", "executed"]
MIXED_TOLERANCE = 1e-5
"""normalised units within which base + residual + noise has to be what was sent"""
FIRST_ROWS = 4096


class RewardModel(Protocol):
    """What a replay may take its rewards from instead of the recorded ones: SketchReward."""

    model_id: str

    @property
    def inputs(self) -> tuple[str, ...]: ...

    def predict(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """name -> [N, ...] gives [N, members]."""
        ...


class EpisodeRefused(ApprenticeError):
    """An episode that must not be learned from: not finite, without the reward, or driven by somebody else throughout."""


class ReplayBuffer:
    """A ring of rows. An episode of T steps takes T + 1, one an observation, so that no observation is held twice.

    `names`: arrays to keep ('goal/<name>' from the segments, 'tracked/<name>' from the observation, or where it has none the privileged
    channel); frames go through the box filter of side `reduction`.
    `action`: 'residual' keeps clip(residual + noise, -1, 1), never the executed command (A2), and leaves steps out that were not
    base + residual + noise; 'executed' is for learners without a base. The discount is 0 at a true terminal and 1 elsewhere, at time
    limits too. Steps without the reward are left out.

    All episodes must have been driven on top of one base controller: `base_hash`, or the first episode's where it is None (A4).

    With a `model` the reward of a step is what the model says of its observation (spec 000 section 2.8), whatever was recorded; `rescore`
    puts another model's in the place of all of them, so that every row is always the same model's (checklist line 86).
    """

    def __init__(
        self, names: Sequence[str], capacity: int, reward: str, action: ActionKind = "residual", *, reduction: int = 1,
        reward_scale: float = 1.0, reward_shift: float = 0.0, base_hash: str | None = None, model: RewardModel | None = None,
    ):
        self.names, self.capacity, self.reward_name, self.action_kind, self.reduction = tuple(names), capacity, reward, action, reduction
        self.reward_scale, self.reward_shift, self.base_hash = reward_scale, reward_shift, base_hash
        self.columns: dict[str, np.ndarray] = {}
        self.starts = np.empty(0, dtype=np.int64)
        """rows at which a transition begins"""
        self._valid = np.zeros(0, dtype=bool)
        self._head = 0
        self._spans: deque[np.ndarray] = deque()
        self.model: RewardModel | None = None
        if model is not None:
            self.rescore(model)

    def rescore(self, model: RewardModel) -> int:
        """Recomputes the reward of every row by `model`, an episode at a time, so that the numbers do not depend on when it is done;
        returns how many rows there are. ApprenticeError when the model reads what the replay does not keep as recorded."""
        if self.reduction != 1 or not set(model.inputs) <= set(self.names):
            kept = f"{', '.join(self.names)}{' reduced' if self.reduction != 1 else ''}"
            raise ApprenticeError(f"reward model {model.model_id} reads {', '.join(model.inputs)}; the replay keeps {kept}")
        self.model = model
        for rows in self._spans:
            self.columns["reward"][rows[:-1]] = self._modelled({n: self.columns[n][rows[:-1]] for n in model.inputs})
        return sum(len(rows) - 1 for rows in self._spans)

    @property
    def model_id(self) -> str:
        return "" if self.model is None else self.model.model_id

    def newest_rewards(self) -> np.ndarray:
        """Of the episode that was added last, [T]."""
        return self.columns["reward"][self._spans[-1][:-1]]

    def _modelled(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        assert self.model is not None
        value = self.model.predict(observation).mean(axis=1)
        return (value * self.reward_scale + self.reward_shift).astype(np.float32)

    def __len__(self) -> int:
        """Transitions to draw from."""
        return len(self.starts)

    def add(self, episode: Episode) -> int:
        """Takes an episode up, the oldest rows making room; returns its transitions. EpisodeRefused for a bad episode; ApprenticeError
        when its base controller is another than the buffer's."""
        self._check_base(episode)
        rows = self._rows(episode)
        n = len(episode) + 1
        if n > self.capacity:
            raise EpisodeRefused(f"{episode.episode_id}: {n} observations do not fit a replay of {self.capacity}")
        keep = rows.pop("keep")
        self._make_room(rows, n)
        at = (self._head + np.arange(n)) % self.capacity
        for name, values in rows.items():
            self.columns[name][at[: len(values)]] = values
        self._valid[at] = False
        self._valid[at[:-1]] = keep
        self._head = (self._head + n) % self.capacity
        self._forget(at)
        self._spans.append(at)
        self.starts = np.flatnonzero(self._valid)
        return int(keep.sum())

    def _forget(self, written: np.ndarray) -> None:
        """Shortens the oldest episodes by the rows that a new one has taken."""
        while self._spans:
            left = self._spans[0][~np.isin(self._spans[0], written)]
            if len(left) > 1:
                self._spans[0] = left
                return
            self._spans.popleft()

    def _check_base(self, episode: Episode) -> None:
        if self.action_kind != "residual":
            return
        found = str(episode.meta.get("metadata", {}).get("base_hash", ""))
        if self.base_hash is None:
            self.base_hash = found
        if found != self.base_hash:
            raise ApprenticeError(
                f"episode {episode.episode_id}: base_hash: driven on base controller {found or '(none)'}, the replay holds residuals of "
                f"{self.base_hash or '(none)'}; Q(s, residual) means another thing there. Start a new run for the new base"
            )

    def _rows(self, episode: Episode) -> dict[str, np.ndarray]:
        """Everything to write, checked before the first row is touched."""
        t, where = len(episode), f"episode {episode.episode_id}"
        out: dict[str, np.ndarray] = {}
        try:
            for name in self.names:
                values = _column(episode, name)
                reduce = self.reduction > 1 and values.ndim == 4
                out[name] = np.stack([box_reduce(v, self.reduction) for v in values]) if reduce else values
        except KeyError as error:
            raise EpisodeRefused(f"{where}: lacks {error.args[0]}") from error
        action, driven = self._actions(episode)
        if self.model is not None:
            reward = self._modelled({n: out[n][:t] for n in self.model.inputs})
        elif self.reward_name in episode.rewards:
            reward = episode.rewards[self.reward_name] * self.reward_scale + self.reward_shift
        else:
            raise EpisodeRefused(f"{where}: no reward {self.reward_name!r}; it has {', '.join(sorted(episode.rewards)) or 'none'}")
        keep = driven & ~np.isnan(reward)
        out |= {"action": action, "reward": np.where(keep, reward, 0.0).astype(np.float32)}
        out["discount"] = episode.discount if episode.outcome.terminated else np.ones(t, np.float32)
        # The sum is clipped, and infinity would pass for a bound.
        sent = {f"action/{kind}": episode.actions[kind] for kind in ("residual", "noise", "executed")}
        for name, values in (out | sent).items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise EpisodeRefused(f"{where}: {name} holds NaN or infinity")
        if not keep.any():
            raise EpisodeRefused(f"{where}: no step has the reward and was driven by base + residual")
        for name, values in out.items():
            have = self.columns.get(name)
            if have is not None and (have.shape[1:] != values.shape[1:] or have.dtype != values.dtype):
                raise EpisodeRefused(f"{where}: {name}: {values.dtype} {values.shape[1:]}, the replay holds {have.dtype} {have.shape[1:]}")
        return out | {"keep": keep}

    def _actions(self, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        """(what the learner did [T, A], whether it was that which drove [T])."""
        a = episode.actions
        if self.action_kind == "executed":
            return np.clip(a["executed"], -1.0, 1.0), np.ones(len(episode), dtype=bool)
        total = a["residual"] + a["noise"]
        residual = np.clip(total, -1.0, 1.0)
        error = np.minimum(*(np.abs(np.clip(a["base"] + u, -1.0, 1.0) - a["mixed"]) for u in (residual, total)))
        return residual, ~(error > MIXED_TOLERANCE).any(axis=1)

    def _make_room(self, rows: dict[str, np.ndarray], n: int) -> None:
        """Grows towards the capacity by doubling, so that a short run takes little memory."""
        have = len(self._valid)
        need = self._head + n
        if need <= have or have == self.capacity:
            return
        size = min(self.capacity, max(need, 2 * have, FIRST_ROWS))
        for name, values in rows.items():
            grown = np.zeros((size, *values.shape[1:]), values.dtype)
            if have:
                grown[:have] = self.columns[name]
            self.columns[name] = grown
        self._valid = np.concatenate((self._valid, np.zeros(size - have, dtype=bool)))

    def after(self, rows: np.ndarray) -> np.ndarray:
        """The rows of the next observations."""
        return (rows + 1) % self.capacity


def _column(episode: Episode, name: str) -> np.ndarray:
    """An array at each of the T + 1 observations; KeyError where the episode has none."""
    if name.startswith(GOAL):
        return goal_rows(episode, name.removeprefix(GOAL))
    if name.startswith(TRACKED) and name not in episode.observations:
        return episode.privileged[name.removeprefix(TRACKED)]
    return episode.observations[name]


class ReplaySampler:
    """`sample()` -> `size` transitions of `replay`, uniform with replacement, and then `prior_size` of `prior` (a MixedBatch).

    Arrays of a batch are reused by the next one. Deterministic by seed; `state` continues it.
    """

    def __init__(self, replay: ReplayBuffer, size: int, seed: int, prior: ReplayBuffer | None = None, prior_size: int = 0):
        if bool(prior_size) != (prior is not None):
            raise ValueError("prior data and their share of a batch go together")
        self.parts = [(replay, size)] + ([(prior, prior_size)] if prior is not None else [])
        self.generator = np.random.default_rng([seed, 2])
        self._prior = torch.cat((torch.zeros(size), torch.ones(prior_size)))
        self._buffers: dict[str, np.ndarray] = {}

    def sample(self) -> Batch:
        """ApprenticeError when there is nothing to draw from, or when its rewards would be two models'."""
        if len({buffer.model_id for buffer, _ in self.parts}) > 1:
            raise ApprenticeError("replay: the prior data have another reward model's rewards")
        picks = []
        for buffer, n in self.parts:
            if not len(buffer):
                raise ApprenticeError("replay: there is no transition to draw yet")
            picks.append((buffer, buffer.starts[self.generator.integers(0, len(buffer), n)]))
        names = self.parts[0][0].names
        now = {n: self._gather(n, f"now/{n}", picks) for n in names}
        after = {n: self._gather(n, f"next/{n}", [(b, b.after(rows)) for b, rows in picks]) for n in names}
        action, reward, discount = (self._gather(n, n, picks) for n in ("action", "reward", "discount"))
        if len(self.parts) == 1:
            return Batch(now, action, reward, discount, after)
        return MixedBatch(now, action, reward, discount, after, prior=self._prior)

    def _gather(self, name: str, key: str, picks: list[tuple[ReplayBuffer, np.ndarray]]) -> torch.Tensor:
        column = picks[0][0].columns[name]
        if key not in self._buffers:
            self._buffers[key] = np.empty((sum(len(rows) for _, rows in picks), *column.shape[1:]), column.dtype)
        out, at = self._buffers[key], 0
        for buffer, rows in picks:
            np.take(buffer.columns[name], rows, axis=0, out=out[at : at + len(rows)], mode="clip")
            at += len(rows)
        return torch.from_numpy(out)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.generator.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state
