"""`apprentice calibrate`: where the tool is when the plug is in, from an episode at whose end a person held it there (spec 001c C2)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.store import Data, open_store


def calibrate(
    connector: Annotated[str, typer.Argument(help="Name of the mounted socket; with the robot's it names the file.")],
    data: Data = None,
    episode: Annotated[str, typer.Option("--episode", "-e", help="Its id; the newest by default.")] = "",
    observations: Annotated[int, typer.Option("--observations", "-n", min=10, help="So many at the episode's end count.")] = 10,
    robot: Annotated[str, typer.Option("--robot", "-r", help="Which arm, where there are several.")] = "sawyer",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of calibrations.")] = Path("bags") / "calibrations",
) -> None:
    """Store the tool's pose with the plug fully in: from then on it says of every step whether the plug is in.

    Record an episode in which a person (teleop) brings the plug fully in and holds it there for its last second, then calibrate. What was
    stored for that socket and robot before is kept as .old. The plug must stay gripped as it is; after a slip, calibrate again.

    Examples:

      apprentice calibrate usb_front

      apprentice launch insertion.launch.xml reward:=calibrated calibration:=bags/calibrations/usb_front@sawyer.json
    """
    from apprentice_core.errors import ApprenticeError
    from apprentice_core.rewards import calibrate as inserted_pose
    from apprentice_core.streams import TOOL_POSE
    from apprentice_store.bag_metadata import write_durably

    for name in (connector, robot):
        if not name or set(name) & set("/\\@") or name.startswith("."):
            raise ApprenticeError(f"{name!r} is no name: it becomes part of a file's")
    with open_store(data) as store:
        found = [r.episode_id for r in store.episodes("kind = 'episode'")]
        chosen = episode or (found[-1] if found else "")
        if chosen not in found:
            raise ApprenticeError(f"{store.folder}: no episode {chosen}" if chosen else f"{store.folder}: no episodes")
        observed = store.read(chosen, (TOOL_POSE,)).observations
    if TOOL_POSE not in observed:
        raise ApprenticeError(f"episode {chosen} has no {TOOL_POSE}")
    pose = inserted_pose(observed[TOOL_POSE][-observations:], connector, robot, chosen)
    path = out / f"{connector}@{robot}.json"
    out.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        write_durably(path.with_suffix(".old"), path.read_text(encoding="utf-8"))
    write_durably(path, pose.model_dump_json(indent=1) + "\n")
    x, y, z = pose.position
    within = f"still within {1e3 * pose.spread:.2f} mm over {pose.samples} observations of {chosen}"
    typer.echo(f"{path}: x {x:.4f} y {y:.4f} z {z:.4f} m, {within}")
