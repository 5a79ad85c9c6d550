"""The cell that a command works on: the running nodes, or a simulation in this process. Both are core's `Cell`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apprentice_core.cell import Cell
from apprentice_core.errors import ApprenticeError

POLICY = "policy"
"""name of the action source that a bundle drives, on the nodes and in process"""
RESIDUAL = "residual"
"""the same on the nodes of a launch file with a base controller"""


@dataclass(frozen=True)
class CellChoice:
    """`in_process`: SimCell with the named cell config, recording into `data`; else the nodes in `namespace`, whose recorder has
    a folder of its own."""

    in_process: bool
    task: str
    cell: str = "sawyer_lift"
    namespace: str = "cell"
    data: Path | None = None
    cameras: str = "agent"
    seed: int = 0
    base: str = ""
    """in process: a base controller that is there as a source of its own name, and below a residual"""


@contextmanager
def open_cell(choice: CellChoice, bundle: Path | None = None) -> Iterator[Cell]:
    """The cell, with `bundle` loaded as its policy; closed at the end. ApprenticeError when no cell answers or the bundle does not fit."""
    with _in_process(choice, bundle) if choice.in_process else _over_ros(choice, bundle) as cell:
        yield cell


@contextmanager
def _in_process(choice: CellChoice, bundle: Path | None) -> Iterator[Cell]:
    from apprentice_sim.sim_cell import SimCell
    from apprentice_store.bag_sink import BagSink
    from apprentice_store.store import Store

    store = None if choice.data is None else Store(choice.data)
    cell = SimCell(choice.cell, choice.task, choice.seed, sink=None if store is None else BagSink(store), cameras=choice.cameras)
    try:
        if choice.base:
            from apprentice_control.base import ControllerSource, make_controller

            space = cell.spec.action_space
            controller = make_controller(choice.base, cell.profile, space.dimensions[0].high)
            cell.sources[choice.base] = ControllerSource(controller, space, choice.base)
        if bundle is not None:
            from apprentice_learning.runner import PolicyRunner

            # The one place where tracked poses may reach a policy: a simulation in this process (spec of the low-dimensional claim runs).
            runner = PolicyRunner(bundle, cell.spec.action_space, name=POLICY, allow_tracked=cell.cell.poses == "privileged")
            runner.check(cell.spec.observation, cell.spec.privileged)
            cell.sources[POLICY] = runner
        yield cell
    finally:
        cell.close()
        if store is not None:
            store.close()


@contextmanager
def _over_ros(choice: CellChoice, bundle: Path | None) -> Iterator[Cell]:
    from apprentice_runtime.ros_cell import RosCell

    cell = RosCell(choice.namespace, choice.task)
    try:
        if bundle is not None:
            load_policy(cell, bundle)
        yield cell
    finally:
        cell.close()


def load_policy(cell: Cell, bundle: Path) -> str:
    """Gives the policy node of a running cell the bundle, from its next episode on; returns the bundle's id."""
    from apprentice_runtime.ros_cell import RosCell

    if not isinstance(cell, RosCell):
        raise ApprenticeError("only a cell over ROS takes another bundle while it runs")
    return cell.load_bundle(bundle)
