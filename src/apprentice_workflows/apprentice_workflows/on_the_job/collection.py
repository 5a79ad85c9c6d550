"""The scripted collector over all connectors and both robots (C1-C3, C39), a file of arrays a domain; killed, it goes on with the next."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_control.base import CentreLine, ControllerSource
from apprentice_core.errors import ApprenticeError
from apprentice_learning.representations.dataset import ConnectorData, EpisodeFacts
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_sim.connectors import family
from apprentice_sim.connectors.floating import STEP
from apprentice_workflows.on_the_job.settings import STEPS, OnTheJobSettings
from apprentice_workflows.on_the_job.starts import collection_start
from apprentice_workflows.on_the_job.world import ROBOTS, SPACE, ConnectorWorld, Trajectory

FIELDS = ("frames", "base", "noise", "executed", "success", "tool", "force")
Told = Callable[[str, int, int, str], None]
"""(what goes on, done, in all, note)"""


def connectors(s: OnTheJobSettings) -> tuple[str, ...]:
    return s.connectors or tuple(family())


def collector(s: OnTheJobSettings) -> ControllerSource:
    """Down if within a millimetre of the centre line, else towards it; in a part of the steps a drawn action (C1)."""
    return ControllerSource(CentreLine(STEP), SPACE, name="centre_line", noisy=s.noisy)


def facts(world: ConnectorWorld, s: OnTheJobSettings) -> dict[str, Any]:
    """What a domain's file says of itself; a file that says otherwise belongs to another collection."""
    return {
        "connector_id": world.connector, "robot_id": world.robot, "background_id": world.background,
        "domain_id": f"{world.connector}@{world.robot}", "preprocessing": fingerprint(), "base_hash": collector(s).base_hash,
        "noisy": s.noisy, "trajectories": s.trajectories, "steps": STEPS, "size": s.size,
    }


def trajectories(world: ConnectorWorld, s: OnTheJobSettings) -> Iterator[Trajectory]:
    """Each is drawn from its domain and number alone."""
    source = collector(s)
    for k in range(s.trajectories):
        rng = np.random.default_rng([*f"{world.connector}@{world.robot}".encode(), k])
        start, seed = collection_start(rng), int(rng.integers(2**31))
        yield world.run(source, start, seed)


def collect(folder: Path, s: OnTheJobSettings, tell: Told) -> None:
    """What is missing of the domains, into `folder`. ApprenticeError when a file there is of another collection."""
    folder.mkdir(parents=True, exist_ok=True)
    domains = [(c, r) for c in connectors(s) for r in ROBOTS]
    for done, (connector, robot) in enumerate(domains):
        tell("collect", done, len(domains), f"{connector}@{robot}")
        world = ConnectorWorld(connector, robot, s.size)
        try:
            said, path = facts(world, s), folder / f"{connector}@{robot}.npz"
            if path.is_file():
                check(path, read_facts(path), said)
                continue
            found = list(trajectories(world, s))
            arrays = {n: np.stack([getattr(t, n) for t in found]) for n in FIELDS}
            part = path.with_name(path.name + ".part")
            with part.open("wb") as file:
                np.savez(file, facts=np.array(json.dumps(said)), **arrays)  # type: ignore[arg-type]
            part.replace(path)
        finally:
            world.close()
    tell("collect", len(domains), len(domains), "")


def check(path: Path, said: dict[str, Any], wanted: dict[str, Any]) -> None:
    wrong = sorted(k for k in {*said, *wanted} if said.get(k) != wanted.get(k))
    if wrong:
        was = ", ".join(f"{k} {said.get(k)!r} instead of {wanted.get(k)!r}" for k in wrong)
        raise ApprenticeError(f"{path}: is of another collection ({was}); use another folder, or remove it to collect it again")


def read_facts(path: Path) -> dict[str, Any]:
    """ApprenticeError when the file is none of a collection."""
    try:
        with np.load(path, allow_pickle=False) as file:
            said = json.loads(str(file["facts"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ApprenticeError(f"{path}: not a file of a collection: {error}") from error
    if not isinstance(said, dict):
        raise ApprenticeError(f"{path}: facts is not an object")
    return said


def read_domain(path: Path) -> ConnectorData:
    """One domain; ApprenticeError when arrays are missing or do not fit each other."""
    said = read_facts(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {n: file[n] for n in ("frames", "executed", "success", "tool")}
        n, rows = a["success"].shape
        action = np.zeros((n, rows, 3), dtype=np.float32)
        action[:, :-1] = a["executed"]
        who = EpisodeFacts(*(str(said[k]) for k in ("connector_id", "robot_id", "background_id", "preprocessing")))
        return ConnectorData(
            a["frames"].reshape(n * rows, *a["frames"].shape[2:]), action.reshape(-1, 3), a["success"].ravel(),
            -a["tool"][..., :2].reshape(-1, 2).astype(np.float32), np.arange(n + 1) * rows, (who,) * n,
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ApprenticeError(f"{path}: not a file of a collection: {error}") from error


def read_collection(folder: Path, s: OnTheJobSettings) -> ConnectorData:
    """All domains of the settings, merged over robots; ApprenticeError names one that is missing or of another collection."""
    parts = []
    for connector in connectors(s):
        for robot in ROBOTS:
            path = folder / f"{connector}@{robot}.npz"
            if not path.is_file():
                raise ApprenticeError(f"{path}: is missing; collect first: apprentice on-the-job collect")
            wanted = {"trajectories": s.trajectories, "size": s.size, "noisy": s.noisy, "steps": STEPS}
            check(path, {k: v for k, v in read_facts(path).items() if k in wanted}, wanted)
            parts.append(read_domain(path))
    return ConnectorData.join(parts)
