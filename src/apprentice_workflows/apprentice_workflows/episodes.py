"""Many episodes on one cell: where they start, and what became of them. Written once, on `Cell.run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice_core.cell import Cell, EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.config import TaskConfig
from apprentice_core.errors import ApprenticeError
from apprentice_core.statistics import Proportion

if TYPE_CHECKING:  # help must not wait for the database's library
    from apprentice_store.catalogue import EpisodeRow
    from apprentice_store.store import Store

COLLECTION_SEED = 1
EVALUATION_SEED = 1_000_000
"""start poses of collection and evaluation come from ranges of seeds that never meet (ours)"""
CUT_OFF = ("torn", "policy_lost", "policy_late", "arm_lost", "sensor_stale")
"""reasons of episodes that were ended by a failure of the cell: they say nothing about who drove (ours)"""


def seeded_starts(count: int, seed: int) -> list[ResetRequest]:
    """`count` drawn starts: seeds seed, seed + 1, ..."""
    return [ResetRequest(seed=seed + i) for i in range(count)]


def named_starts(task: TaskConfig, sets: Sequence[str], count: int = 0) -> list[ResetRequest]:
    """The starts of the named sets (`normal`, or one start `normal/n0`) in order, repeated or cut to `count`; 0: each once."""
    out: list[ResetRequest] = []
    for name in sets:
        group, _, one = name.partition("/")
        known = task.starts.get(group, {})
        if not known or (one and one not in known):
            have = ", ".join(f"{g} ({len(s)})" for g, s in task.starts.items()) or "none"
            raise ApprenticeError(f"task {task.name} has no evaluation starts {name!r}; it has: {have}")
        out += [ResetRequest(initial_state=f"{group}/{start}") for start in ([one] if one else known)]
    return [out[i % len(out)] for i in range(count)] if count else out


def ref_of(row: EpisodeRow, folder: Path) -> EpisodeRef:
    """What `Cell.run` returned when the episode of this row was recorded."""
    return EpisodeRef(
        row.episode_id, str(folder / row.data_path), row.steps, bool(row.success), row.terminated, row.truncated, row.reason, row.lost
    )


def finished(store: Store, where: str) -> list[EpisodeRow]:
    """Episodes that fulfil `where` and ran to their end; one that was cut off is run again."""
    cut = ", ".join(f"'{reason}'" for reason in CUT_OFF)
    return store.episodes(f"({where}) and kind = 'episode' and not reason in ({cut})")


@dataclass
class Tally:
    """What became of the episodes of one driver."""

    name: str
    refs: list[EpisodeRef] = field(default_factory=list)

    @property
    def successes(self) -> int:
        return sum(r.success for r in self.refs)

    @property
    def steps(self) -> int:
        return sum(r.steps for r in self.refs)

    @property
    def lost(self) -> int:
        return sum(r.lost for r in self.refs)

    @property
    def proportion(self) -> Proportion:
        return Proportion(self.name, self.successes, len(self.refs))

    def reasons(self) -> dict[str, int]:
        """Why episodes ended, most frequent first."""
        every = [r.reason for r in self.refs]
        return {k: every.count(k) for k in sorted(set(every), key=lambda k: (-every.count(k), k))}


def run_episodes(
    cell: Cell,
    starts: Sequence[ResetRequest],
    request: EpisodeRequest,
    on_episode: Callable[[ResetRequest, EpisodeRef], None] = lambda start, ref: None,
) -> Iterator[EpisodeRef]:
    """Runs `request` once from each start; `on_episode` is told of each as it ends."""
    for start in starts:
        ref = cell.run(replace(request, reset=start))
        on_episode(start, ref)
        yield ref


def as_dict(tally: Tally, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The stable JSON of an evaluation: Wilson interval, steps, lost observations, reasons, episode ids."""
    return {
        **tally.proportion.as_dict(),
        "steps": tally.steps,
        "observations_lost": tally.lost,
        "reasons": tally.reasons(),
        "episode_ids": [r.episode_id for r in tally.refs],
        **(extra or {}),
    }
