"""Poses of marked objects from calibrated cameras (spec 001c section 1.3 and checklist A25), without ROS.

Markers are found in each picture by OpenCV; the pose of an object is then the one that puts all corners of all its markers, in all cameras
at once, nearest to where they were found. Several markers on different sides make an object's tilt as sure as its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from apprentice_core.camera_model import CameraModel
from apprentice_core.config import CameraConfig, CellConfig, Marker, TaskConfig, TrackerConfig
from apprentice_core.errors import ConfigError
from apprentice_core.rotations import matrix_from_rotation_vector, matrix_to_quaternion, quaternion_to_matrix, rotation_vector
from apprentice_core.spaces import Observation
from apprentice_core.streams import TRACKED, deviation

DICTIONARY = cv2.aruco.DICT_4X4_50
CELLS = 6
"""of a marker's side: four of code and a black border"""
ROUNDS = 15
"""Gauss-Newton steps of one fit; it ends sooner where a step is below a micrometre (ours)"""
ALIKE = 1.5
"""two poses whose residuals differ by less than this factor explain a flat marker alike: the one nearer to the last is taken (ours)"""


def axis_vector(axis: str) -> np.ndarray:
    """'+x' ... '-z' -> unit vector [3]."""
    return (1.0 if axis[0] == "+" else -1.0) * np.eye(3)["xyz".index(axis[1])]


def marker_corners(marker: Marker) -> np.ndarray:
    """[4, 3] in the object's frame, m: upper left, upper right, lower right, lower left as one sees it."""
    up = axis_vector(marker.up)
    right = np.cross(up, axis_vector(marker.normal))
    half = marker.size / 2
    return np.array(marker.centre) + half * np.array([up - right, up + right, right - up, -up - right])


def marker_image(number: int, pixels: int) -> np.ndarray:
    """uint8 [6 * pixels, 6 * pixels]: the black square of a marker with `pixels` to a cell; it needs a white margin of a cell around it."""
    return np.asarray(cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(DICTIONARY), number, CELLS * pixels))


@dataclass(frozen=True)
class FixedCamera:
    """A camera that stands still: point p of the base frame is at `rotation` @ p + `translation` in its optical frame (x right, y down)."""

    model: CameraModel
    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def placed(cls, camera: CameraConfig, model: CameraModel | None = None) -> FixedCamera:
        """`model`: its calibration at the record size; by default the ideal one of its field of view."""
        eye, target, up = (np.array(v, dtype=np.float64) for v in (camera.position, camera.look_at, camera.up))
        ahead = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(ahead, up)
        right /= np.linalg.norm(right)
        rotation = np.array([right, np.cross(ahead, right), ahead])
        return cls(model or CameraModel.from_fov(camera.raw, camera.fov).at_record_size(camera.record), rotation, -rotation @ eye)

    @property
    def k(self) -> np.ndarray:
        return np.reshape(self.model.k, (3, 3))

    def straight(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] as a lens without distortion would have them."""
        d = np.array(self.model.d)
        if not d.any():
            return pixels
        undistort = cv2.fisheye.undistortPoints if self.model.distortion_model == "equidistant" else cv2.undistortPoints
        return np.asarray(undistort(pixels[:, None].astype(np.float64), self.k, d, P=self.k)).reshape(-1, 2)


class MarkerFinder:
    """Finds markers in a picture. One thread at a time."""

    def __init__(self) -> None:
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        parameters.cornerRefinementWinSize = 3
        # One window: adaptive thresholds of three sizes take three times as long and find nothing more on large dark squares.
        parameters.adaptiveThreshWinSizeMin = parameters.adaptiveThreshWinSizeMax = 23
        self._detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARY), parameters)

    def find(self, image: np.ndarray) -> dict[int, np.ndarray]:
        """uint8 [H, W] or RGB [H, W, 3] -> corners [4, 2] in pixels by marker; of two with the same number neither is believed."""
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        corners, ids, _ = self._detector.detectMarkers(gray)
        found: dict[int, np.ndarray] = {}
        twice = set()
        for number, points in zip(() if ids is None else np.ravel(ids).tolist(), corners, strict=True):
            twice |= {number} & found.keys()
            found[number] = np.asarray(points, dtype=np.float64).reshape(4, 2)
        return {n: c for n, c in found.items() if n not in twice}


@dataclass(frozen=True)
class TrackedPose:
    """`pose`: xyz, xyzw in the base frame (w >= 0); `covariance` [6, 6]: of the position, m^2, and of a rotation about the base's axes,
    rad^2; `age`: since the object was last seen, s."""

    pose: np.ndarray
    covariance: np.ndarray
    age: float = 0.0


@dataclass(frozen=True)
class _Sights:
    """Corners found of one object, one a row: `points` [N, 3] in its frame, `pixels` [N, 2] without distortion, `marker` [N] and, of the
    camera that saw it, `which` [N], `rotation` [N, 3, 3], `translation` [N, 3], `focus` and `centre` [N, 2] in pixels."""

    points: np.ndarray
    pixels: np.ndarray
    marker: np.ndarray
    which: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focus: np.ndarray
    centre: np.ndarray

    def only(self, rows: np.ndarray) -> _Sights:
        return _Sights(*(getattr(self, f.name)[rows] for f in fields(self)))


Pose = tuple[np.ndarray, np.ndarray]
"""rotation [3, 3], translation [3]"""
Fit = tuple[np.ndarray, np.ndarray, float]
"""the same and the root mean square distance of the corners, pixels"""


class PoseTracker:
    """Poses of `objects` (markers by name) from pictures of `cameras`.

    What is hidden keeps its last pose, whose deviation grows; after `config.lost_after` it has none.
    """

    def __init__(self, objects: Mapping[str, Sequence[Marker]], cameras: Mapping[str, FixedCamera], config: TrackerConfig):
        self.config, self.cameras, self.names = config, dict(cameras), tuple(objects)
        self.sightings: dict[str, dict[int, np.ndarray]] = {}
        """camera -> marker -> corners of the last pictures, for pictures and diagnostics"""
        self._corners = {name: {m.id: marker_corners(m) for m in markers} for name, markers in objects.items()}
        self._finder = MarkerFinder()
        self._last: dict[str, tuple[float, TrackedPose]] = {}

    def restart(self) -> None:
        """Objects may be anywhere now."""
        self._last.clear()

    def update(self, images: Mapping[str, np.ndarray], stamp: float) -> dict[str, TrackedPose]:
        """Pictures (camera -> uint8) of one moment, s; the pose of each object that has one."""
        self.sightings = {name: self._finder.find(image) for name, image in images.items()}
        out = {}
        for name in self.names:
            sights = self._sights(name)
            seen = self._fit(sights, self._last[name][1] if name in self._last else None) if sights is not None else None
            if seen is not None:
                self._last[name] = (stamp, seen)
                out[name] = seen
            elif name in self._last and (age := stamp - self._last[name][0]) <= self.config.lost_after:
                out[name] = self._aged(self._last[name][1], age)
        return out

    def _sights(self, name: str) -> _Sights | None:
        corners = self._corners[name]
        rows = []
        for which, (camera, found) in enumerate((self.cameras[c], found) for c, found in self.sightings.items()):
            for number in found.keys() & corners.keys():
                k, pixels = camera.k, camera.straight(found[number])
                same = (number, which, camera.rotation, camera.translation, np.diagonal(k)[:2], k[:2, 2])
                rows += [(point, pixel, *same) for point, pixel in zip(corners[number], pixels, strict=True)]
        return _Sights(*map(np.array, zip(*rows, strict=True))) if rows else None

    def _aged(self, last: TrackedPose, age: float) -> TrackedPose:
        growth = np.repeat([self.config.drift * age, self.config.turn * age], 3) ** 2
        return TrackedPose(last.pose, last.covariance + np.diag(growth), age)

    def _fit(self, sights: _Sights, last: TrackedPose | None) -> TrackedPose | None:
        """None where no pose explains what was found; a marker that spoils the others is left out."""
        while True:
            near = None if last is None else _refine((quaternion_to_matrix(last.pose[3:]), last.pose[:3]), sights)
            if near is not None and near[2] <= 2 * self.config.corner_error:
                chosen = near
                break
            fits = [f for f in (*(_refine(start, sights) for start in _starts(sights)), near) if f is not None]
            if not fits:
                return None
            best = min(f[2] for f in fits)
            alike = [f for f in fits if f[2] <= max(ALIKE * best, self.config.corner_error)]
            chosen = min(alike, key=(lambda f: f[2]) if last is None else (lambda f: _turn(f[0], last)))
            if chosen[2] <= self.config.max_residual:
                break
            prints = np.stack([sights.which, sights.marker], axis=1)
            errors = np.linalg.norm(_residual(chosen[:2], sights), axis=1)
            worst = prints[np.argmax(errors)]
            kept = (prints != worst).any(axis=1)
            if not kept.any():
                return None
            sights = sights.only(kept)
        rotation, translation, rms = chosen
        jacobian = _jacobian((rotation, translation), sights)
        covariance = max(rms, self.config.corner_error) ** 2 * np.linalg.pinv(jacobian.T @ jacobian)
        return TrackedPose(np.concatenate([translation, matrix_to_quaternion(rotation)]), covariance)


def _turn(rotation: np.ndarray, last: TrackedPose) -> float:
    return float(np.linalg.norm(rotation_vector(rotation @ quaternion_to_matrix(last.pose[3:]).T)))


def _starts(sights: _Sights) -> list[Pose]:
    """Poses to begin a fit at: of each camera, from what it sees alone. A flat figure has two."""
    out = []
    for which in np.unique(sights.which):
        s = sights.only(sights.which == which)
        turned, k = s.rotation[0], np.eye(3)
        k[[0, 1], [0, 1]], k[:2, 2] = s.focus[0], s.centre[0]
        flat = np.linalg.matrix_rank(s.points - s.points.mean(axis=0), tol=1e-6) < 3
        method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
        _, turns, shifts, _ = cv2.solvePnPGeneric(s.points, s.pixels, k, None, flags=method)
        for turn, shift in zip(turns, shifts, strict=True):
            out.append((turned.T @ matrix_from_rotation_vector(np.ravel(turn)), turned.T @ (np.ravel(shift) - s.translation[0])))
    return out


def _seen(pose: Pose, s: _Sights) -> tuple[np.ndarray, np.ndarray]:
    """The corners from the object's origin along the base's axes, and in their cameras' optical frames, [N, 3] each."""
    arms = s.points @ pose[0].T
    return arms, np.einsum("nij,nj->ni", s.rotation, arms + pose[1]) + s.translation


def _residual(pose: Pose, s: _Sights) -> np.ndarray:
    """Pixels found minus pixels where they should be, [N, 2]."""
    _, at = _seen(pose, s)
    return np.asarray(s.pixels - (at[:, :2] / at[:, 2:] * s.focus + s.centre))


def _jacobian(pose: Pose, s: _Sights) -> np.ndarray:
    """d pixels / d (translation, rotation about the base's axes), [2 N, 6]."""
    arms, at = _seen(pose, s)
    image = np.zeros((len(at), 2, 3))
    image[:, [0, 1], [0, 1]] = s.focus / at[:, 2:]
    image[:, :, 2] = -s.focus * at[:, :2] / at[:, 2:] ** 2
    moved = image @ s.rotation
    return np.concatenate([moved, np.cross(arms[:, None], moved)], axis=2).reshape(-1, 6)


def _refine(start: Pose, sights: _Sights) -> Fit | None:
    """The best pose near `start`; None where the fit runs away."""
    pose = start
    for _ in range(ROUNDS):
        if (_seen(pose, sights)[1][:, 2] <= 0).any():
            return None
        jacobian = _jacobian(pose, sights)
        try:
            step = np.linalg.solve(jacobian.T @ jacobian, jacobian.T @ _residual(pose, sights).ravel())
        except np.linalg.LinAlgError:
            return None
        pose = (matrix_from_rotation_vector(step[3:]) @ pose[0], pose[1] + step[:3])
        if np.abs(step).max() < 1e-6:
            break
    if not np.isfinite(pose[1]).all() or (_seen(pose, sights)[1][:, 2] <= 0).any():
        return None
    return (*pose, float(np.sqrt(np.mean(_residual(pose, sights) ** 2) * 2)))


def make_tracker(cell: CellConfig, task: TaskConfig, models: Mapping[str, CameraModel] | None = None) -> PoseTracker:
    """The tracker that cell and task describe; `models`: calibrations that are better than the ideal one. ConfigError without markers."""
    if cell.tracker is None:
        raise ConfigError(cell.name, "tracker", "absent: this cell does not say which cameras look at the markers")
    if not task.markers:
        raise ConfigError(task.name, "markers", "none: there is nothing to track")
    cameras = {n: FixedCamera.placed(cell.cameras[n], (models or {}).get(n)) for n in cell.tracker.cameras}
    return PoseTracker(task.markers, cameras, cell.tracker)


def tracked_arrays(poses: Mapping[str, TrackedPose]) -> Observation:
    """What the streams of tracked poses make of them, float32."""
    out: Observation = {}
    for name, tracked in poses.items():
        out[f"{TRACKED}object/{name}/pose"] = tracked.pose.astype(np.float32)
        out[f"{TRACKED}object/{name}/deviation"] = deviation(tracked.covariance).astype(np.float32)
    return out
