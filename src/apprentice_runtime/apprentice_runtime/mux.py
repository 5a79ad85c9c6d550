"""Who drives: joins the answers to a tick into the one command that arm_node obeys, and lets a person take over at any tick."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from apprentice_core.cell import SourceAction
from apprentice_core.mixing import mix
from apprentice_runtime.tick import Answer


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

    @property
    def ahead(self) -> bool:
        """An answer is here whose tick is not."""
        return any(a.step_id > self._step for a in self._answers.values())

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
        mixed = mix(_given(answer))
        assert mixed is not None
        return replace(answer, values=mixed.values, fault=mixed.fault)

    def _mixed(self, base: Answer) -> Answer:
        parts = [self._answers.get(s) for s in self._sources[1:]]
        mixed = mix(_given(base), [None if p is None else _given(p) for p in parts])
        assert mixed is not None
        bundle = next((p.bundle_id for p in parts if p is not None and p.bundle_id), base.bundle_id)
        return replace(
            base, values=mixed.values, base=mixed.base, residual=mixed.residual, noise=mixed.noise, fault=mixed.fault, bundle_id=bundle
        )


def _given(answer: Answer) -> SourceAction:
    return SourceAction(answer.values, answer.noise, answer.fault)
