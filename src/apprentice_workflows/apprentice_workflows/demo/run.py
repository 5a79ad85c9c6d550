"""The stages of the demo in order. What is done is read from the bags, so an interrupted run goes on where it was."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from apprentice_core.cell import Cell, EpisodeRequest
from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.store import Store
from apprentice_workflows.cells import POLICY, CellChoice, load_policy
from apprentice_workflows.cli.progress import episode_progress
from apprentice_workflows.demo.cell_process import CellProcess, answering_cell
from apprentice_workflows.demo.report import judge, write_report
from apprentice_workflows.demo.settings import FULL, QUICK, DemoSettings
from apprentice_workflows.demo.state import DemoState
from apprentice_workflows.demo.training import BUNDLE, train_all
from apprentice_workflows.episodes import COLLECTION_SEED, EVALUATION_SEED, Tally, finished, ref_of, run_episodes, seeded_starts

COLLECT = "collect"
NAMESPACE = "cell"
RANDOM_SEED = 500_000
"""of random_watcher's first start in collection: between those of the expert and of the evaluation"""

console = Console(stderr=True)


def run_demo(out: Path, quick: bool, fresh: bool) -> int:
    """Exit code: 0, or 1 when a target was missed."""
    settings = QUICK if quick else FULL
    if fresh and out.exists():
        aside = out.with_name(f"{out.name}.{time.strftime('%Y%m%d-%H%M%S')}")
        out.rename(aside)
        console.print(f"the earlier run is now {aside}")
    # Two demos on one machine must not hear each other.
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    out = out.resolve()
    demo = Demo(out, settings)
    demo.record()
    demo.train()
    demo.evaluate()
    return demo.report()


class Demo:
    """One run in one folder: `episodes/` (the store), `policies/<name>/`, `logs/`, `state.json`, the reports."""

    def __init__(self, out: Path, settings: DemoSettings):
        self.out, self.settings = out, settings
        self.state = DemoState(out, settings)
        self.store = Store(out / "episodes")
        torn = self.store.repair().recovered  # an interrupted recording; it counts as an episode that is not there
        if torn:
            console.print(f"recovered {len(torn)} episode(s) that an interruption had cut off")

    def done(self, tag: str, source: str, bundle_id: str = "") -> list[EpisodeRow]:
        """Finished episodes of a stage; one that was cut off is run again."""
        rows = finished(self.store, f"tag = '{tag}' and source = '{source}'")
        return [r for r in rows if r.seed is not None and (not bundle_id or r.bundle_id == bundle_id)]

    def _cell(self) -> CellProcess:
        arguments = {"task": self.settings.task, "namespace": NAMESPACE, "data": str(self.store.folder), "pace": "lockstep"}
        arguments["noise"] = str(self.settings.expert_noise)
        return CellProcess(arguments, self.out / "logs" / "cell.log")

    @contextmanager
    def _open(self, process: CellProcess, bundle: Path | None = None) -> Iterator[Cell]:
        """The running cell, as soon as it answers; a node that failed meanwhile is reported instead of waited for."""
        choice = CellChoice(False, self.settings.task, namespace=NAMESPACE)
        with answering_cell(process, choice) as cell:
            if bundle is not None:
                load_policy(cell, bundle)
            yield cell

    def _run(self, cell: Cell, process: CellProcess, tally: Tally, seeds: Sequence[int], request: EpisodeRequest, total: int) -> None:
        with episode_progress(f"{request.tags[0]} {tally.name}", total, tally) as shown:
            for seed in seeds:
                for ref in run_episodes(cell, seeded_starts(1, seed), request):
                    process.check()
                    if not ref.episode_id:
                        raise ApprenticeError(f"an episode could not be run: {ref.reason}; see {process.log}")
                    tally.refs.append(ref)
                    shown()

    def record(self) -> None:
        """Step 1 and 2: the nodes, and 60 or more episodes through the recorder."""
        s = self.settings
        plans = [(s.expert, s.expert_episodes, COLLECTION_SEED), (s.random, s.random_episodes, RANDOM_SEED)]
        missing: list[tuple[str, int, list[EpisodeRow], list[int]]] = []
        for source, count, first in plans:
            rows = self.done(COLLECT, source)
            have = {r.seed for r in rows}
            missing.append((source, count, rows, [first + i for i in range(count) if first + i not in have]))
        if not any(seeds for *_, seeds in missing):
            console.print("recording: done already")
            return
        with self.state.stage("record"), self._cell() as process, self._open(process) as cell:
            for source, count, rows, seeds in missing:
                tally = Tally(source, [ref_of(r, self.store.folder) for r in rows])
                request = EpisodeRequest(s.task, source, end_on_success=True, tags=(COLLECT,))
                self._run(cell, process, tally, seeds, request, count)

    def train(self) -> None:
        """Step 3: both policies, from the bags alone, side by side on one core each."""
        missing = [p for p in self.settings.policies if not (self.bundle(p.name) / "bundle.json").is_file()]
        if not missing:
            console.print("training: done already")
            return
        with self.state.stage("train"):
            train_all(missing, self.store.folder, f"tag = '{COLLECT}' and kind = 'episode' and reason != 'torn'", self.out / "policies")

    def bundle(self, name: str) -> Path:
        return self.out / "policies" / name / BUNDLE

    def drivers(self) -> list[tuple[str, str, Path | None]]:
        """(name, action source, bundle) of everything that is judged."""
        return [
            *((p.name, POLICY, self.bundle(p.name)) for p in self.settings.policies),
            (self.settings.random, self.settings.random, None),
        ]

    def tallies(self) -> list[Tally]:
        """The evaluations so far, read from the store."""
        out = []
        for name, source, bundle in self.drivers():
            rows = self.done(f"evaluate_{name}", source, _id(bundle))
            wanted = set(range(EVALUATION_SEED, EVALUATION_SEED + self.settings.evaluation_episodes))
            once = {r.seed: r for r in rows if r.seed in wanted}
            out.append(Tally(name, [ref_of(r, self.store.folder) for _, r in sorted(once.items())]))
        return out

    def evaluate(self) -> None:
        """Step 4: each on the same fresh starts, through the policy node; success is judged from privileged state by the reward node."""
        count = self.settings.evaluation_episodes
        tallies = self.tallies()
        if all(len(t.refs) >= count for t in tallies):
            console.print("evaluation: done already")
            return
        with self.state.stage("evaluate"), self._cell() as process:
            for (name, source, bundle), tally in zip(self.drivers(), tallies, strict=True):
                have = {r.seed for r in self.done(f"evaluate_{name}", source, _id(bundle))}
                seeds = [EVALUATION_SEED + i for i in range(count) if EVALUATION_SEED + i not in have]
                if not seeds:
                    continue
                request = EpisodeRequest(self.settings.task, source, end_on_success=True, tags=(f"evaluate_{name}",))
                with self._open(process, bundle) as cell:
                    self._run(cell, process, tally, seeds, request, count)

    def report(self) -> int:
        """Step 5: report.html and report.json; says where they are and what was reached."""
        with self.state.stage("report"):
            facts = write_report(self.out, self.store, self.settings, self.state, self.tallies())
        failures = judge(facts, self.settings)
        for p in facts["policies"]:
            console.print(
                f"{p['name']:>15}: {p['successes']}/{p['episodes']} ({100 * p['wilson_low']:.0f} to {100 * p['wilson_high']:.0f} %)"
            )
        console.print(
            f"{facts['steps_recorded']} steps recorded, {facts['observations_lost']} observations lost, {facts['wall_s']:.0f} s of work"
        )
        for failure in failures:
            console.print(f"[red]missed:[/red] {failure}")
        print(self.out / "report.html", flush=True)
        self.store.close()
        return 1 if failures else 0


def _id(bundle: Path | None) -> str:
    from apprentice_core.bundle import bundle_id, read_manifest

    return "" if bundle is None else bundle_id(read_manifest(bundle))
