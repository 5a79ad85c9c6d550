"""Who drives: joins the answers to a tick into the one command that arm_node obeys, and lets a person take over at any tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from apprentice_runtime.tick import EMPTY, Answer


@dataclass(frozen=True)
class Control:
    """Who holds the controls. `person` is '' while the sources of the tick drive."""

    person: str = ""
    forced: bool = False
    """engaged by service; only the service hands back"""


@dataclass
class Mux:
    """Sources answer in any order. `command` is given once per step: base + residual + noise, or the person's answer.

    A missing base gives nothing, so that the tick's owner declares it missing and arm_node holds. A missing residual counts as
    zero once `residual_timeout` (steady seconds) has passed since the base's answer.
    """

    people: tuple[str, ...] = ("teleop",)
    residual_timeout: float = 1.0
    control: Control = Control()
    stale: int = 0
    residuals_missing: int = 0
    faults: int = 0
    _step: int = -1
    _episode: str = ""
    _sources: tuple[str, ...] = ()
    _answers: dict[str, Answer] = field(default_factory=dict)
    _base_at: float = 0.0
    _done: bool = True

    def tick(self, step_id: int, episode_id: str, sources: tuple[str, ...], final: bool) -> Answer | None:
        """A new tick. Answers that came ahead of it are kept; all older ones are forgotten."""
        self._answers = {n: a for n, a in self._answers.items() if a.step_id == step_id}
        self._step, self._episode, self._sources = step_id, episode_id, sources
        self._done = final or not sources
        return None

    def answer(self, answer: Answer, now: float) -> Answer | None:
        """An answer of a source; gives the command when it is now complete."""
        if answer.source in self.people:
            self._person(answer)
        if answer.step_id < self._step or (answer.step_id == self._step and self._done):
            self.stale += answer.source in self._sources
            return None
        self._answers[answer.source] = answer
        if answer.step_id != self._step:
            return None
        if self._sources and answer.source == self._sources[0]:
            self._base_at = now
        return self.command(now)

    def take(self, source: str, engage: bool) -> str:
        """TakeControl; '' or why not."""
        if source not in self.people:
            return f"{source!r} is not a person's source; known: {', '.join(self.people)}"
        if engage:
            self.control = Control(source, True)
        elif self.control.person == source:
            self.control = Control()
        return ""

    def poll(self, now: float) -> Answer | None:
        return None if self._done else self.command(now)

    def command(self, now: float) -> Answer | None:
        """The command of the current step, or None while an answer is lacking."""
        if self._done:
            return None
        if self.control.person:
            found = self._answers.get(self.control.person)
            return None if found is None else self._give(self._alone(replace(found, engaged=True)))
        base = self._answers.get(self._sources[0])
        if base is None:
            return None
        waiting = [s for s in self._sources[1:] if s not in self._answers]
        if waiting and now - self._base_at < self.residual_timeout:
            return None
        self.residuals_missing += len(waiting)
        return self._give(self._mixed(base) if len(self._sources) > 1 else self._alone(base))

    def _person(self, answer: Answer) -> None:
        if self.control.forced:
            return
        if answer.engaged and not self.control.person:
            self.control = Control(answer.source)
        elif not answer.engaged and self.control.person == answer.source:
            self.control = Control()

    def _give(self, command: Answer) -> Answer:
        self._done = True
        self.faults += bool(command.fault)
        return command

    def _alone(self, answer: Answer) -> Answer:
        values, fault = _total(answer.values, {"noise": answer.noise})
        return replace(answer, values=values, fault=answer.fault or fault)

    def _mixed(self, base: Answer) -> Answer:
        parts = [self._answers[s] for s in self._sources[1:] if s in self._answers]
        usable = [p.values for p in parts if p.values.shape == base.values.shape and np.isfinite(p.values).all()]
        residual = np.asarray(np.sum(usable, axis=0, dtype=np.float32)) if usable else np.zeros_like(base.values)
        fault = base.fault or next((p.fault for p in parts if p.fault), "")
        if len(usable) < len(parts):
            fault = fault or "residual: wrong shape or not finite"
        noises = [a.noise for a in (base, *parts) if a.noise.shape == base.values.shape]
        noise = np.asarray(np.sum(noises, axis=0, dtype=np.float32)) if noises else EMPTY
        values, broken = _total(base.values, {"residual": residual, "noise": noise})
        return replace(base, values=values, base=base.values, residual=residual, noise=noise, fault=fault or broken)


def _total(values: np.ndarray, added: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """(float32 sum clipped to [-1, 1], fault); zeros when anything in it is not finite or does not fit."""
    total = values.astype(np.float32, copy=True)
    for name, part in added.items():
        if part.size and part.shape != total.shape:
            return np.zeros_like(values), f"{name}: shape {part.shape}, expected {total.shape}"
        if part.size:
            total = total + part
    if not np.isfinite(total).all():
        return np.zeros(values.shape, dtype=np.float32), "nan"
    return np.clip(total, -1.0, 1.0), ""
