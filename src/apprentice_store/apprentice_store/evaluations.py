"""Controlled evaluations (spec 000 section 2.13): the same fixed starts for every policy, in an order that may hide which one runs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import insert, select, update

from apprentice_core.episode import new_episode_id
from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue

MAX_TRIALS = 10_000
VERIFIED = "verified"
"""kind of the annotation that says what poses or connection tell of a trial's episode; the name is the evaluation's id"""
INTERVENTION = "intervention: "
"""begins the note of a result that tells of a person who had to step in before a trial could run"""
RANDOM = "random"
"""name of the set of random starts (line 74), one seed each"""


@dataclass(frozen=True)
class Trial:
    """One episode to run: `label` stands for the policy as long as the evaluation is blind. `start`: <set>/<name>, or random/<seed>."""

    number: int
    policy: str
    label: str
    condition: str
    start: str


@dataclass(frozen=True)
class Result:
    """What an operator said of a trial; None: neither success nor failure (it has to be run again)."""

    success: bool | None
    note: str
    user: str
    episode_id: str
    created: int


@dataclass(frozen=True)
class Evaluation:
    """A plan and what became of it.

    `results`: the newest by trial number. `revealed`: when (ns), None while a blind one hides its policies.
    """

    evaluation_id: str
    task: str
    policies: tuple[str, ...]
    blind: bool
    seed: int
    trials: tuple[Trial, ...]
    author: str
    created: int
    revealed: int | None
    results: Mapping[int, Result] = field(default_factory=dict)
    interventions: int = 0
    """how often a person had to put the cell in order between trials"""

    @property
    def hidden(self) -> bool:
        return self.blind and self.revealed is None

    @property
    def open(self) -> list[Trial]:
        """Trials without success or failure, in their order."""
        return [t for t in self.trials if t.number not in self.results or self.results[t.number].success is None]


def plan_trials(policies: Sequence[str], starts: Sequence[tuple[str, str]], blind: bool, seed: int) -> list[Trial]:
    """Every policy once from every start (condition, start id), start by start, so that the objects are placed once.

    Blind: the policies' order is drawn anew at each start, and so are their labels A, B ... for the whole evaluation.
    """
    draw = random.Random(f"evaluation {seed}")
    labelled = list(policies)
    if blind:
        draw.shuffle(labelled)
    labels = {p: _letters(i) for i, p in enumerate(labelled)}
    out: list[Trial] = []
    for condition, start in starts:
        order = list(policies)
        if blind:
            draw.shuffle(order)
        out += [Trial(len(out) + i, p, labels[p], condition, start) for i, p in enumerate(order)]
    return out


def _letters(index: int) -> str:
    """A ... Z, AA, AB ..."""
    text = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


class Evaluations:
    """The evaluations of a catalogue. Results are appended, never changed: a corrected one follows the first."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue

    def create(
        self, task: str, policies: Sequence[str], starts: Sequence[tuple[str, str]], blind: bool, seed: int, author: str
    ) -> Evaluation:
        """ApprenticeError for no or equal policies, no starts, or more than 10,000 trials."""
        if not policies or len(set(policies)) != len(policies):
            raise ApprenticeError("evaluation: name at least one policy, each once")
        if not 0 < len(policies) * len(starts) <= MAX_TRIALS:
            raise ApprenticeError(f"evaluation: {len(policies) * len(starts)} trials; 1 to {MAX_TRIALS} are possible")
        trials = plan_trials(policies, starts, blind, seed)
        evaluation = Evaluation(new_episode_id(), task, tuple(policies), blind, seed, tuple(trials), author, time.time_ns(), None)
        plan = {"policies": list(policies), "blind": blind, "seed": seed, "trials": [asdict(t) for t in trials]}
        with self.catalogue.transaction(writes=True) as c:
            c.execute(insert(s.evaluations).values(
                evaluation_id=evaluation.evaluation_id, task=task, plan=json.dumps(plan), author=author, created=evaluation.created,
            ))
        return evaluation

    def all(self) -> list[Evaluation]:
        """Newest first."""
        with self.catalogue.transaction() as c:
            ids = [r[0] for r in c.execute(select(s.evaluations.c.evaluation_id).order_by(s.evaluations.c.created.desc()))]
        return [self.get(i) for i in ids]

    def get(self, evaluation_id: str) -> Evaluation:
        """ApprenticeError when there is none."""
        t, r = s.evaluations, s.evaluation_results
        with self.catalogue.transaction() as c:
            row = c.execute(select(t).where(t.c.evaluation_id == evaluation_id)).first()
            said = c.execute(
                select(r.c.trial, r.c.success, r.c.note, r.c.user, r.c.episode_id, r.c.created)
                .where(r.c.evaluation_id == evaluation_id).order_by(r.c.number)
            ).all()
        if row is None:
            raise ApprenticeError(f"no evaluation {evaluation_id!r} in the catalogue")
        plan = json.loads(row[2])
        return Evaluation(
            row[0], row[1], tuple(plan["policies"]), plan["blind"], plan["seed"], tuple(Trial(**x) for x in plan["trials"]),
            row[3], row[4], row[5], {x[0]: Result(*x[1:]) for x in said}, sum(x[2].startswith(INTERVENTION) for x in said),
        )

    def judge(
        self, evaluation_id: str, trial: int, success: bool | None, user: str, note: str = "", episode_id: str = ""
    ) -> None:
        """Appends a result with its policy and start (line 75); where an episode is named, also says there how it ended. A word about a
        trial whose episode the cell has named already, and nobody has judged, is about that episode.

        ApprenticeError for an unknown evaluation, trial or episode. One transaction.
        """
        evaluation = self.get(evaluation_id)
        if not 0 <= trial < len(evaluation.trials):
            raise ApprenticeError(f"evaluation {evaluation_id}: has trials 0 to {len(evaluation.trials) - 1}, not {trial}")
        if episode_id and self.catalogue.get(episode_id) is None:
            raise ApprenticeError(f"no episode {episode_id!r} in the catalogue")
        one, before = evaluation.trials[trial], evaluation.results.get(trial)
        if not episode_id and success is not None and before is not None:
            episode_id = before.episode_id
        with self.catalogue.transaction(writes=True) as c:
            c.execute(insert(s.evaluation_results).values(
                evaluation_id=evaluation_id, trial=trial, policy=one.policy, start=one.start, success=success, note=note, user=user,
                episode_id=episode_id, created=time.time_ns(),
            ))
            if episode_id:
                # Not the policy: whoever looks at an episode of a blind evaluation must not learn it.
                told = {"trial": trial, "start": one.start, "condition": one.condition}
                self.catalogue.insert_annotation(c, episode_id, "evaluation", evaluation_id, told, user)
                if success is not None:
                    self.catalogue.judge_success(c, episode_id, success, user)

    def reveal(self, evaluation_id: str) -> Evaluation:
        """Names the policies of a blind evaluation from now on; doing it again changes nothing."""
        t = s.evaluations
        with self.catalogue.transaction(writes=True) as c:
            unrevealed = (t.c.evaluation_id == evaluation_id) & t.c.revealed.is_(None)
            c.execute(update(t).where(unrevealed).values(revealed=time.time_ns()))
        return self.get(evaluation_id)

    def hides(self, episode_id: str) -> bool:
        """Whether the episode belongs to an evaluation that still hides its policies."""
        r = s.evaluation_results.c
        with self.catalogue.transaction() as c:
            ids = [x[0] for x in c.execute(select(r.evaluation_id).where(r.episode_id == episode_id).distinct())]
        return any(self.get(i).hidden for i in ids)


def tallies(evaluation: Evaluation) -> dict[str, dict[str, tuple[int, int]]]:
    """(successes, judged trials) by policy (its label while hidden) and condition."""
    out: dict[str, dict[str, tuple[int, int]]] = {}
    for trial in evaluation.trials:
        name = trial.label if evaluation.hidden else trial.policy
        cell = out.setdefault(name, {})
        won, judged = cell.setdefault(trial.condition, (0, 0))
        result = evaluation.results.get(trial.number)
        if result is not None and result.success is not None:
            cell[trial.condition] = (won + result.success, judged + 1)
    return {name: out[name] for name in (sorted(out) if evaluation.hidden else evaluation.policies)}


@dataclass(frozen=True)
class Check:
    """What the cell itself knows of a judged trial (spec 001c X13): `success` by true poses or by the connection (None: neither is there),
    `by` which, `steps` that a person drove."""

    success: bool | None
    by: str
    steps: int

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def checks(catalogue: Catalogue, evaluation: Evaluation) -> dict[int, Check]:
    """By trial number, for trials whose episode was verified; what says nothing of the kind is left out."""
    out = {}
    for number, result in evaluation.results.items():
        for a in catalogue.annotations(result.episode_id) if result.episode_id else ():
            v = a.value
            if a.kind == VERIFIED and a.name == evaluation.evaluation_id and isinstance(v, dict) and v.keys() == {"success", "by", "steps"}:
                out[number] = Check(v["success"], str(v["by"]), int(v["steps"]))
    return out
