"""`apprentice calibrate` on recorded episodes of a connector: what it stores labels others as the simulation does (C2)."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from apprentice_control.base import CentreLine, ControllerSource
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardBatch
from apprentice_core.rewards import CalibratedReward, load_calibrated_pose
from apprentice_sim.connectors.floating import STEP
from apprentice_workflows.cli.app import app
from apprentice_workflows.on_the_job.recording import bag_sink, open_store
from apprentice_workflows.on_the_job.world import ROBOTS, SPACE, ConnectorWorld


def test_a_held_plug_calibrates_and_labels_what_others_do(tmp_path: Path) -> None:
    world, runner = ConnectorWorld("square_0", ROBOTS[0], 32), CliRunner()
    expert, sloppy = (ControllerSource(CentreLine(STEP), SPACE, noisy=n) for n in (0.0, 0.3))
    with open_store(tmp_path / "bags") as store:
        sink = bag_sink(store, ROBOTS[0])
        aside = world.run(sloppy, (0.02, 0.02), 1, sink=sink).episode_id
        held = world.run(expert, (0.0, 0.0), 2, sink=sink).episode_id
    others = [world.run(sloppy, (0.004 * k, -0.003 * k), 10 + k) for k in range(4)]
    world.close()

    def calibrate(*options: str):
        return runner.invoke(app, ["calibrate", "square_0", "-d", str(tmp_path / "bags"), "-o", str(tmp_path / "poses"), *options])

    first = calibrate()
    assert first.exit_code == 0 and held in first.output
    path = tmp_path / "poses" / "square_0@sawyer.json"
    reward = CalibratedReward(load_calibrated_pose(path))
    said, truth = [], []
    for t in others:
        n = len(t.executed)
        pose = np.hstack([t.tool[1:], np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))]).astype(np.float32)
        batch = RewardBatch({}, t.executed, {"tool/pose": pose}, np.arange(n), np.full(n, n))
        said += reward.compute_reward(batch)["sparse"].success.tolist()
        truth += t.success[1:].tolist()
    assert 10 < sum(truth) < len(truth) - 10 and np.mean(np.array(said) == np.array(truth)) > 0.95
    before = path.read_bytes()
    for options, match in ((("-e", aside), "moved"), (("-e", "nonsense"), "no episode nonsense"), (("-r", "../x"), "no name")):
        error = calibrate(*options).exception
        assert isinstance(error, ApprenticeError) and match in str(error)
    assert path.read_bytes() == before, "what is refused costs nothing"
    assert calibrate("-e", held).exit_code == 0 and path.with_suffix(".old").read_bytes() == before


def test_no_data_is_one_line(tmp_path: Path) -> None:
    error = CliRunner().invoke(app, ["calibrate", "usb", "-d", str(tmp_path / "none")]).exception
    assert isinstance(error, ApprenticeError) and "does not exist" in str(error)
    with open_store(tmp_path / "empty"):
        pass
    with pytest.raises(ApprenticeError, match="no episodes"):
        raise CliRunner().invoke(app, ["calibrate", "usb", "-d", str(tmp_path / "empty")]).exception or AssertionError
