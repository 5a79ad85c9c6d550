"""Block poses from the simulated cameras, against the simulation's truth (spec 001c checklist A25, A26)."""

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRequest, ResetRequest, SourceAction
from apprentice_core.config import load_cell, load_task
from apprentice_core.errors import ConfigError
from apprentice_core.rotations import quaternion_to_matrix, rotation_vector
from apprentice_sim.sim_cell import SimCell

NAMES = ("left", "right")


@pytest.fixture(scope="module")
def cell():
    task = load_task("assemble_blocks")
    turned = task.model_copy(update={"scene_options": {"rotation": 0.3}})
    cell = SimCell("sawyer_assembly_tracked", turned, 0, cameras=False)
    yield cell
    cell.close()


class Still:
    name, needs_privileged, bundle_id = "still", False, ""

    def __init__(self, cell, hide_at=10**6):
        self.cell, self.hide_at, self.seen = cell, hide_at, []

    def reset(self, context):
        self.seen = []

    def act(self, observation, segment, privileged=None):
        assert privileged is None
        self.seen.append(observation)
        if len(self.seen) == self.hide_at:
            self.cell.world.shift(["left"], [0.0, 1.0, 0.0])  # out of both pictures
        return SourceAction(np.zeros(3, dtype=np.float32))

    def observe(self, observation, executed):
        pass


def test_poses_agree_with_the_truth_on_random_scenes(cell) -> None:
    for seed in range(4):
        assert cell.reset(ResetRequest(seed=seed)).ok
        seen, truth = cell.observe(), cell.privileged()
        for name in NAMES:
            found, real = seen[f"tracked/object/{name}/pose"], truth[f"object/{name}/pose"]
            assert np.linalg.norm(found[:3] - real[:3]) < 0.0012
            turned = quaternion_to_matrix(found[3:]) @ quaternion_to_matrix(real[3:]).T
            assert np.degrees(np.linalg.norm(rotation_vector(turned))) < 1.2
            metres, radians = seen[f"tracked/object/{name}/deviation"]
            assert 2e-5 < metres < 2e-3 and 1e-4 < radians < 0.05


def test_a_hidden_block_keeps_its_pose_less_surely_and_then_ends_the_episode(cell) -> None:
    still = Still(cell, hide_at=3)
    cell.sources["still"] = still
    ref = cell.run(EpisodeRequest("assemble_blocks", "still", ResetRequest(seed=1), steps=40))
    assert ref.truncated and not ref.terminated and ref.reason == "sensor_stale"
    lost_after = cell.cell.tracker.lost_after
    assert ref.steps == pytest.approx(3 + lost_after / 0.1, abs=1)
    poses = np.array([o["tracked/object/left/pose"] for o in still.seen])
    np.testing.assert_array_equal(poses[3:], np.tile(poses[3], (len(poses) - 3, 1)))
    deviations = np.array([o["tracked/object/left/deviation"][0] for o in still.seen])
    assert (np.diff(deviations[3:]) > 0).all() and deviations[-1] > 2 * deviations[2]
    right = np.array([o["tracked/object/right/deviation"][0] for o in still.seen])
    assert right.max() < 2e-3, "what is seen stays as sure as it was"


def test_a_scene_that_the_tracker_does_not_see_is_no_start(cell, monkeypatch) -> None:
    place = cell.world.scene.place
    monkeypatch.setattr(cell.world.scene, "place", lambda start, seed: tuple(b.at(0.6, 0.35, 0.05, 0.0) if b.name == "right" else b
                                                                            for b in place(start, seed)))
    result = cell.reset(ResetRequest(seed=5))
    assert not result.ok and "tracker does not see right" in result.reason


def test_only_the_word_poses_decides_where_poses_come_from() -> None:
    tracked, true = load_cell("sawyer_assembly_tracked"), load_cell("sawyer_assembly")
    assert {"tracked/object/left/pose", "tracked/object/left/deviation"} <= names_of(tracked)
    assert not any(n.startswith("tracked/") for n in names_of(true) | names_of(tracked.model_copy(update={"poses": "privileged"})))
    with pytest.raises(ConfigError, match="markers"):
        SimCell(tracked, load_task("assemble_blocks").model_copy(update={"markers": {}}), cameras=False)


def names_of(config) -> set[str]:
    cell = SimCell(config, "assemble_blocks", cameras=False)
    try:
        assert {a.name for a in cell.spec.observation} == set(cell.observe())
        return set(cell.observe())
    finally:
        cell.close()


def test_a_mirror_world_has_the_markers_too(cell) -> None:
    """render_node draws a mirror: without the markers in the description a tracker over the nodes would see plain blocks."""
    from apprentice_sim.renderer import Renderer
    from apprentice_sim.world import World

    mirror = World.mirror(cell.world.description())
    try:
        mirror.apply_snapshot(*cell.world.snapshot())
        cameras = {n: cell.cell.cameras[n] for n in ("track_left",)}
        np.testing.assert_array_equal(Renderer(mirror, cameras).render("track_left"), Renderer(cell.world, cameras).render("track_left"))
    finally:
        mirror.close()
