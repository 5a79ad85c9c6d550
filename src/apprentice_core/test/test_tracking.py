"""Marker tracking on drawn pictures: projections of known poses, hidden, doubled and spoiled markers."""

import math

import cv2
import numpy as np
import pytest

from apprentice_core.config import CameraConfig, Marker, TrackerConfig
from apprentice_core.rotations import matrix_from_rotation_vector, matrix_to_quaternion
from apprentice_core.tracking import CELLS, FixedCamera, MarkerFinder, PoseTracker, marker_corners, marker_image, tracked_arrays

MARKERS = (
    Marker(id=0, size=0.03, centre=(0.02, 0.0, 0.02), normal="+x"),
    Marker(id=1, size=0.03, centre=(0.02, 0.0, -0.02), normal="+x"),
    Marker(id=2, size=0.03, centre=(0.0, 0.0, 0.05), normal="+z", up="-x"),
)
SIZE = (480, 640)
CAMERAS = {
    n: FixedCamera.placed(CameraConfig(position=(0.95, y, 0.34), look_at=(0.6, 0.0, 0.05), fov=20.0, raw=SIZE, record=SIZE))
    for n, y in (("a", 0.2), ("b", -0.2))
}
CONFIG = TrackerConfig(cameras=("a", "b"))
TURN = matrix_from_rotation_vector(np.array([0.05, -0.1, 0.2]))
POSITION = np.array([0.61, 0.02, 0.05])


def draw(camera: FixedCamera, rotation, position, markers=MARKERS) -> np.ndarray:
    """A picture of the markers alone, on white, by OpenCV's own warp: nothing of the tracker's projection is in it but `FixedCamera`."""
    picture = np.full((*SIZE, 3), 255, dtype=np.uint8)
    for marker in markers:
        corners = marker_corners(marker) @ rotation.T + position
        at, _ = cv2.projectPoints(corners, camera.rotation, camera.translation, camera.k, None)
        side = CELLS * 20
        # A marker's corner is the outer edge of its corner pixel.
        flat = np.array([[-0.5, -0.5], [side - 0.5, -0.5], [side - 0.5, side - 0.5], [-0.5, side - 0.5]], dtype=np.float32)
        warp = cv2.getPerspectiveTransform(flat, at.reshape(4, 2).astype(np.float32))
        code = cv2.warpPerspective(marker_image(marker.id, 20), warp, SIZE[::-1], borderValue=255, flags=cv2.INTER_AREA)
        picture = np.minimum(picture, code[:, :, None])
    return picture


def make(cameras=("a", "b"), **changes) -> PoseTracker:
    config = CONFIG.model_copy(update={"cameras": cameras, **changes})
    return PoseTracker({"block": MARKERS}, {n: CAMERAS[n] for n in cameras}, config)


def error(found) -> tuple[float, float]:
    """(mm, degrees) from the pose that was drawn."""
    turn = 2 * math.acos(min(1.0, abs(float(found.pose[3:] @ matrix_to_quaternion(TURN)))))
    return 1000 * float(np.linalg.norm(found.pose[:3] - POSITION)), math.degrees(turn)


def pictures(markers=MARKERS, cameras=("a", "b")) -> dict[str, np.ndarray]:
    return {n: draw(CAMERAS[n], TURN, POSITION, markers) for n in cameras}


@pytest.mark.parametrize("cameras", [("a", "b"), ("a",)])
def test_pose_of_a_drawn_block(cameras) -> None:
    found = make(cameras).update(pictures(cameras=cameras), 1.0)["block"]
    mm, degrees = error(found)
    assert mm < (0.4 if len(cameras) == 2 else 1.5) and degrees < 0.5 and found.age == 0.0
    assert found.pose[6] >= 0
    deviation = 1000 * np.sqrt(np.diag(found.covariance)[:3].mean())
    assert mm / 4 < deviation < 2.0, "it is about as sure as it is right"
    arrays = tracked_arrays({"block": found})
    assert arrays["tracked/object/block/pose"].dtype == np.float32
    assert arrays["tracked/object/block/deviation"][0] == pytest.approx(deviation / 1000, rel=1e-5)


def test_one_flat_marker_is_less_sure_and_the_last_pose_settles_which_way_it_leans() -> None:
    tracker = make(("a",))
    whole = tracker.update(pictures(cameras=("a",)), 0.0)["block"]
    flat = tracker.update(pictures(MARKERS[:1], ("a",)), 0.1)["block"]
    assert np.trace(flat.covariance) > 3 * np.trace(whole.covariance)
    assert error(flat)[1] < 8.0, "the other way to see a flat marker leans by tens of degrees"


def test_hidden_grows_less_sure_and_is_lost() -> None:
    tracker = make(lost_after=0.5, drift=0.02)
    seen = tracker.update(pictures(), 10.0)["block"]
    nothing = {n: np.full((*SIZE, 3), 255, dtype=np.uint8) for n in CAMERAS}
    hidden = tracker.update(nothing, 10.3)["block"]
    np.testing.assert_array_equal(hidden.pose, seen.pose)
    assert hidden.age == pytest.approx(0.3)
    assert hidden.covariance[0, 0] - seen.covariance[0, 0] == pytest.approx((0.02 * 0.3) ** 2)
    assert "block" not in tracker.update(nothing, 10.6)
    assert "block" in tracker.update(pictures(), 10.7)
    tracker.restart()
    assert "block" not in tracker.update(nothing, 10.8), "nothing is known of a new scene"


def test_a_marker_that_is_in_the_wrong_place_is_left_out() -> None:
    moved = MARKERS[1].model_copy(update={"centre": (0.02, 0.012, -0.02)})
    found = make().update(pictures((MARKERS[0], moved, MARKERS[2])), 0.0)["block"]
    assert error(found)[0] < 1.0


def test_of_two_markers_with_one_number_neither_is_believed() -> None:
    shifted = np.hstack([draw(CAMERAS["a"], TURN, POSITION, MARKERS[:1])] * 2)
    assert MarkerFinder().find(shifted) == {}


def test_distorted_lenses_are_straightened() -> None:
    lens = CAMERAS["a"]
    bent = FixedCamera(
        type(lens.model)(**{**vars(lens.model), "d": (-0.25, 0.1, 0.001, -0.002, 0.0)}), lens.rotation, lens.translation
    )
    points = np.concatenate([marker_corners(m) for m in MARKERS]) @ TURN.T + POSITION
    seen, _ = cv2.projectPoints(points, bent.rotation, bent.translation, bent.k, np.array(bent.model.d))
    straight, _ = cv2.projectPoints(points, bent.rotation, bent.translation, bent.k, None)
    assert np.abs(seen - straight).max() > 0.2
    np.testing.assert_allclose(bent.straight(seen.reshape(-1, 2)), straight.reshape(-1, 2), atol=0.02)
