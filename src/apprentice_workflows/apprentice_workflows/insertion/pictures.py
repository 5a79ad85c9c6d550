"""A learned insertion beside the base controller's on the same goal error: camera strips and force traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_control.base import ControllerSource
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.episode import Episode
from apprentice_core.urdf import hand
from apprentice_core.wrench import force_in_base
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.journal import MemoryJournal
from apprentice_learning.runner import PolicyRunner
from apprentice_workflows.insertion.goals import executions
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import BASE, CAMERA, DRIVER, POLICY, VERIFIED, Rig
from apprentice_workflows.insertion.trials import START_SEED

FRAMES = 10
SCALE = 2


def comparison(folder: Path, connector: str, method: Method, result: Path, out: Path) -> None:
    """Runs both on the first noisy execution that the method inserted and the base alone did not (else the first), with the camera on,
    and draws them. ApprenticeError when the cell cannot be opened."""
    told = json.loads(result.read_text(encoding="utf-8"))
    rig = Rig(connector, folder)
    goals = executions(rig.goal, told["noisy"]["trials"], True, START_SEED)
    bundle = checkpoints(result.parent / "bundles")[-1]
    journal = MemoryJournal()
    cell = rig.open("images", told["seed"], journal, base=method.base)
    base: ControllerSource = cell.sources[BASE]  # type: ignore[assignment]
    cell.sources[POLICY] = PolicyRunner(bundle, cell.spec.action_space, name=POLICY)
    try:
        shown: list[tuple[str, Episode]] = []
        for i, goal in enumerate(goals):
            shown = []
            for name, driver in ((method.title, DRIVER), ("P-controller alone", BASE)):
                metadata = {**goal.metadata(), "base_hash": base.base_hash}
                cell.run(EpisodeRequest(rig.task.name, driver, ResetRequest(seed=START_SEED + i), metadata=metadata))
                episode = journal.entries[-1].episode
                assert episode is not None
                shown.append((name, episode))
            if [bool(e.rewards[VERIFIED][-1] == 1) for _, e in shown] == [True, False]:
                break
        rotation = hand(cell.profile).rotation
    finally:
        cell.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(connector, shown, rotation).savefig(out, dpi=100)


def draw(connector: str, shown: list[tuple[str, Episode]], sensor_in_tool: np.ndarray) -> Any:
    """A strip each, and below both vertical forces and the height still to go."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(len(shown) + 2, 1, height_ratios=[1.0] * len(shown) + [1.4, 1.4])
    for ax, (name, episode) in zip(axes, shown, strict=False):
        at = np.linspace(0, len(episode), FRAMES).astype(int)
        strip = np.concatenate([episode.observations[f"camera/{CAMERA}"][t] for t in at], axis=1)
        ax.imshow(np.kron(strip, np.ones((SCALE, SCALE, 1), dtype=np.uint8)))
        end = "inserted" if episode.rewards[VERIFIED][-1] == 1 else "not inserted"
        ax.set_title(f"{connector}, {name}: {end}", fontsize=10, loc="left")
        ax.axis("off")
    for name, episode in shown:
        seconds = np.arange(len(episode) + 1) * 0.1
        force = force_in_base(episode.observations["wrist/wrench"], episode.observations["tool/pose"], sensor_in_tool)
        error = episode.privileged["object/plug/pose"][:, :3] - episode.privileged["object/socket/pose"][:, :3]
        axes[-2].plot(seconds, force[:, 2], label=name)
        axes[-1].plot(seconds, 1000 * error[:, 2], label=name)
    axes[-2].set_ylabel("force up, N")
    axes[-1].set_ylabel("still to go, mm")
    axes[-1].set_xlabel("s")
    axes[-2].legend(frameon=False, fontsize=9)
    return figure
