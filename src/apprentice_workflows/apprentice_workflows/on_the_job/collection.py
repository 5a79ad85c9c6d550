"""The scripted collector over all connectors and both robots (C1-C3, C39): every trajectory a committed episode. Killed, it goes on with
the first that is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_control.base import CentreLine, ControllerSource
from apprentice_core.cell import EpisodeSink
from apprentice_core.errors import ApprenticeError
from apprentice_learning.representations.dataset import ConnectorData
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_sim.connectors import family
from apprentice_sim.connectors.floating import PICTURE, STEP
from apprentice_store.store import Store
from apprentice_workflows.on_the_job.recording import bag_sink, open_store
from apprentice_workflows.on_the_job.settings import STEPS, OnTheJobSettings
from apprentice_workflows.on_the_job.starts import collection_start
from apprentice_workflows.on_the_job.world import ROBOTS, SPACE, ConnectorWorld, Trajectory

COLLECTED = "collected"
WHERE = f"kind = 'episode' and tag = '{COLLECTED}'"
FIRST = "collect first: apprentice on-the-job collect"
Told = Callable[[str, int, int, str], None]
"""(what goes on, done, in all, note)"""
Key = tuple[str, str, int]
"""connector, robot, number of the trajectory"""


def connectors(s: OnTheJobSettings) -> tuple[str, ...]:
    return s.connectors or tuple(family())


def collector(s: OnTheJobSettings) -> ControllerSource:
    """Down if within a millimetre of the centre line, else towards it; in a part of the steps a drawn action (C1)."""
    return ControllerSource(CentreLine(STEP), SPACE, name="centre_line", noisy=s.noisy)


def facts(s: OnTheJobSettings) -> dict[str, Any]:
    """What decides the numbers of a trajectory, beside its domain and its own number; an episode that says otherwise is of another
    collection."""
    return {
        "preprocessing": fingerprint(), "base_hash": collector(s).base_hash, "noisy": s.noisy, "size": s.size, "picture": PICTURE,
        "horizon": STEPS,
    }


def trajectory(world: ConnectorWorld, s: OnTheJobSettings, k: int, sink: EpisodeSink | None = None) -> Trajectory:
    """The `k`th of the domain, drawn from domain and number alone; an episode where there is a sink."""
    rng = np.random.default_rng([*f"{world.connector}@{world.robot}".encode(), k])
    start, seed = collection_start(rng), int(rng.integers(2**31))
    return world.run(collector(s), start, seed, sink=sink, tags=(COLLECTED,), **facts(s), trajectory=k)


def trajectories(world: ConnectorWorld, s: OnTheJobSettings) -> Iterator[Trajectory]:
    """All of a domain, none of them recorded."""
    return (trajectory(world, s, k) for k in range(s.trajectories))


def wanted(s: OnTheJobSettings) -> list[Key]:
    """In the order of collection, which is that of training."""
    return [(c, r, k) for c in connectors(s) for r in ROBOTS for k in range(s.trajectories)]


def have(store: Store, s: OnTheJobSettings) -> set[Key]:
    """What was collected, hidden episodes too; ApprenticeError when an episode is of another collection."""
    found, asked = set(), facts(s)
    for row in store.episodes(WHERE, hidden=True):
        said = json.loads(row.metadata_json)
        wrong = [f"{k} {said.get(k)!r} instead of {v!r}" for k, v in asked.items() if said.get(k) != v]
        key = (str(said.get("connector_id")), str(said.get("robot_id")), int(said.get("trajectory", -1)))
        if wrong:
            raise ApprenticeError(f"{store.folder}: {row.episode_id} is of another collection ({', '.join(wrong)}); use another folder")
        found.add(key)
    extra = sorted(found - set(wanted(s)))
    if extra:
        raise ApprenticeError(
            f"{store.folder}: is of another collection ({len(extra)} trajectories that the settings do not name, such as "
            f"{extra[0][0]}@{extra[0][1]} number {extra[0][2]}); use another folder"
        )
    return found


def collect(folder: Path, s: OnTheJobSettings, tell: Told) -> None:
    """What is missing of the trajectories, into the store in `folder`. ApprenticeError when an episode there is of another collection."""
    with open_store(folder) as store:
        done, todo = have(store, s), wanted(s)
        for connector in connectors(s):
            for robot in ROBOTS:
                missing = [k for k in range(s.trajectories) if (connector, robot, k) not in done]
                tell("collect", len(done), len(todo), f"{connector}@{robot}")
                if not missing:
                    continue
                world = ConnectorWorld(connector, robot, s.size)
                try:
                    sink = bag_sink(store, robot)
                    for k in missing:
                        trajectory(world, s, k, sink)
                        done.add((connector, robot, k))
                finally:
                    world.close()
        tell("collect", len(done), len(todo), "")


def read_collection(folder: Path, s: OnTheJobSettings, tell: Told) -> ConnectorData:
    """All trajectories of the settings, merged over robots, out of the store's bags. ApprenticeError names one that is missing, or an
    episode of another collection. What was hidden or is damaged is left out."""
    if not (folder / "store.json").is_file():
        raise ApprenticeError(f"{folder}: no episodes; {FIRST}")
    with Store(folder) as store:
        missing = sorted(set(wanted(s)) - have(store, s))
        if missing:
            connector, robot, k = missing[0]
            raise ApprenticeError(f"{folder}: {len(missing)} trajectories are missing, such as {connector}@{robot} number {k}; {FIRST}")
        return ConnectorData.from_store(store, WHERE, lambda n, total: tell("read episodes", n, total, ""))
