"""The cell that the wheel's episodes run on: SimCell in this process, or the nodes; and episodes that are run once, whatever interrupts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apprentice_core.cell import ActionSource, Cell, EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.config import load_task
from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.store import Store
from apprentice_workflows.cells import POLICY, CellChoice, load_policy, open_cell
from apprentice_workflows.cli.progress import episode_progress
from apprentice_workflows.demo.cell_process import CellProcess, answering_cell
from apprentice_workflows.episodes import CUT_OFF, Tally, finished, ref_of, run_episodes

NAMESPACE = "cell"
WATCHER = "random_watcher"
EXPERTS = {"lift": "lift_expert", "stack": "stack_expert", "pick_place": "pick_place_expert", "cloth": "cloth_expert"}
"""a task's rule to the script that plays its operator"""
NOISE_CORRELATION = 0.5
"""of the operator's noise over one step (ours)"""


@dataclass(frozen=True)
class Operator:
    """The scripted stand-in of a person at the teleoperation device."""

    noise: float = 0.0
    failing: float = 0.0


class Rig:
    """Opens the cell of a task; closed again after each block. `nodes`: as processes over DDS, else in this process."""

    def __init__(self, store: Store, cell: str, nodes: bool = False, logs: Path | None = None):
        self.store, self.cell, self.nodes = store, cell, nodes
        self.logs = logs or store.folder.parent / "logs"
        self._process: CellProcess | None = None
        self._runners: dict[Path, ActionSource] = {}
        self._loaded: Path | None = None

    @contextmanager
    def open(self, task: str, operator: Operator = Operator(), cameras: str = "agent") -> Iterator[Cell]:
        """The cell set up for `task`, its operator under the name `operator_name(task)`, random_watcher beside it."""
        try:
            with self._over_ros(task, operator) if self.nodes else self._in_process(task, operator, cameras) as cell:
                yield cell
        finally:
            self._runners.clear()
            self._loaded = None

    @staticmethod
    def operator_name(task: str) -> str:
        config = load_task(task)
        return EXPERTS[config.rule or config.scene]

    @contextmanager
    def _in_process(self, task: str, operator: Operator, cameras: str) -> Iterator[Cell]:
        from apprentice_control.scripted import make_expert
        from apprentice_sim.sim_cell import SimCell

        with open_cell(CellChoice(True, task, self.cell, data=self.store.folder, cameras=cameras)) as cell:
            assert isinstance(cell, SimCell)
            name = self.operator_name(task)
            cell.sources[name] = make_expert(
                cell.profile, cell.task_config, cell.spec.action_space, cell.spec.timing.control_period, operator.noise,
                NOISE_CORRELATION, operator.failing, name=name,
            )
            yield cell

    @contextmanager
    def _over_ros(self, task: str, operator: Operator) -> Iterator[Cell]:
        os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        seen = load_task(task).cameras
        arguments = {
            "task": task, "cell": self.cell, "namespace": NAMESPACE, "data": str(self.store.folder.resolve()), "pace": "lockstep",
            # Two nodes draw what the agent sees: the second all that is left.
            "agent_camera_1": seen[0], "agent_camera_2": ", ".join(seen[1:]),
            "expert": self.operator_name(task), "noise": str(operator.noise), "failures": str(operator.failing),
        }
        with CellProcess(arguments, self.logs / "cell.log") as process:
            self._process = process
            try:
                with answering_cell(process, CellChoice(False, task, self.cell, NAMESPACE)) as cell:
                    yield cell
            finally:
                self._process = None

    def take_policy(self, cell: Cell, bundle: Path) -> None:
        """From its next episode on, the source `policy` acts with this bundle."""
        if self.nodes:
            if bundle != self._loaded:
                load_policy(cell, bundle)
                self._loaded = bundle
            return
        from apprentice_learning.runner import PolicyRunner
        from apprentice_sim.sim_cell import SimCell

        assert isinstance(cell, SimCell)
        if bundle not in self._runners:
            runner = PolicyRunner(bundle, cell.spec.action_space, name=POLICY, allow_tracked=True)
            runner.check(cell.spec.observation, cell.spec.privileged)
            self._runners[bundle] = runner
        cell.sources[POLICY] = self._runners[bundle]

    def missing(self, where: str, starts: Sequence[ResetRequest]) -> tuple[list[EpisodeRow], list[ResetRequest]]:
        """(episodes of these starts that are recorded already, starts still to run)."""
        keys = {(s.initial_state, s.seed) for s in starts}
        have = {(r.initial_state, r.seed): r for r in finished(self.store, where) if (r.initial_state, r.seed) in keys}
        return [have[k] for k in sorted(have, key=str)], [s for s in starts if (s.initial_state, s.seed) not in have]

    def tally(self, name: str, rows: Sequence[EpisodeRow]) -> Tally:
        """What became of recorded episodes."""
        return Tally(name, [ref_of(r, self.store.folder) for r in rows])

    def verify(self, ref: EpisodeRef, name: str) -> None:
        """ApprenticeError when the nodes failed meanwhile, or the episode could not be run."""
        if self._process is not None:
            self._process.check()
        if not ref.episode_id:
            raise ApprenticeError(f"{name}: an episode could not be run: {ref.reason}")

    def collect(
        self, name: str, where: str, starts: Sequence[ResetRequest], request: EpisodeRequest, operator: Operator = Operator()
    ) -> Tally:
        """`record` on a cell for the request's task, which is opened only when something is missing."""
        rows, todo = self.missing(where, starts)
        if not todo:
            return self.tally(name, rows)
        with self.open(request.task, operator) as cell:
            return self.record(cell, name, where, starts, request)

    def record(
        self, cell: Cell, name: str, where: str, starts: Sequence[ResetRequest], request: EpisodeRequest
    ) -> Tally:
        """Runs what is missing of `starts`; `where` finds what is there. ApprenticeError when an episode cannot be run."""
        rows, todo = self.missing(where, starts)
        tally = self.tally(name, rows)
        with episode_progress(name, len(starts), tally) as shown:
            for start in todo:
                tally.refs.append(self.run(cell, name, start, request))
                shown()
        return tally

    def run(self, cell: Cell, name: str, start: ResetRequest, request: EpisodeRequest) -> EpisodeRef:
        """One episode. What the cell cut off is recorded and does not count: it is run once more. ApprenticeError when that is cut off
        too."""
        for _ in range(2):
            (ref,) = run_episodes(cell, [start], request)
            self.verify(ref, name)
            if ref.reason not in CUT_OFF:
                return ref
        raise ApprenticeError(f"{name}: two episodes in a row were cut off ({ref.reason}); the nodes' log is {self.logs / 'cell.log'}")
