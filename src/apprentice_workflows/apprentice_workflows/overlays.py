"""Pictures of evaluation starts, for placing objects by hand (spec 000 line 73): drawn by the simulator, in a process of its own."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Lock

from apprentice_core.config import load_cell, load_task
from apprentice_core.errors import ApprenticeError


def render_start(cell: str, task: str, start: str) -> dict[str, bytes]:
    """Camera to PNG, for all cameras of the cell that the task records, with the arm at home and the objects at the named start."""
    from apprentice_core.cell import ResetRequest
    from apprentice_core.images import encode_png
    from apprentice_sim.sim_cell import SimCell

    running = SimCell(cell, task, cameras="all")
    try:
        result = running.reset(ResetRequest("full", initial_state=start))
        if not result.ok:
            raise ApprenticeError(f"start {start} of task {task}: {result.reason}")
        images = {n.removeprefix("camera/"): v for n, v in running.observe().items() if n.startswith("camera/")}
        return {name: encode_png(image) for name, image in images.items() if image.ndim == 3}
    finally:
        running.close()


class Overlays:
    """Callable as Studio's `overlay`. A start is drawn once, all cameras at a time, and kept in `folder`."""

    def __init__(self, folder: Path, cell: str = "sawyer_lift"):
        self.folder, self.cell = folder, cell
        self._lock = Lock()

    def __call__(self, task: str, name: str, start: str, camera: str) -> bytes | None:
        """PNG; None where the task is not this cell's, or the camera gives no colour."""
        config = load_task(task)
        place = config.starts.get(name, {}).get(start)
        if place is None or config.scene != load_cell(self.cell).scene:
            return None
        key = hashlib.sha256(f"{self.cell} {task} {name}/{start} {place.model_dump_json()}".encode()).hexdigest()[:32]
        folder = self.folder / key
        with self._lock:
            if not folder.is_dir():
                self._draw(folder, task, f"{name}/{start}")
        path = folder / f"{Path(camera).name}.png"
        return path.read_bytes() if path.is_file() else None

    def _draw(self, folder: Path, task: str, start: str) -> None:
        # A process for one start: PyBullet holds the interpreter while it draws, and no idle worker can outlive a killed server.
        try:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                pictures = pool.submit(render_start, self.cell, task, start).result()
        except BrokenProcessPool as error:
            raise ApprenticeError(f"the picture of {start} could not be drawn: its process ended") from error
        staging = folder.with_name(f".{folder.name}.{os.getpid()}")
        staging.mkdir(parents=True, exist_ok=True)
        for name, png in pictures.items():
            (staging / f"{name}.png").write_bytes(png)
        staging.replace(folder)
