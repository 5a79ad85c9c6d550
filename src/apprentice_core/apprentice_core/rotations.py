"""Rotations in the conventions of tf_transformations: quaternions xyzw, fixed-axis roll-pitch-yaw; backed by transforms3d."""

from __future__ import annotations

import numpy as np
from transforms3d import axangles, euler, quaternions


def quaternion_to_matrix(q: np.ndarray) -> np.ndarray:
    """xyzw [4] -> [3, 3]."""
    return quaternions.quat2mat((q[3], q[0], q[1], q[2]))


def matrix_to_quaternion(m: np.ndarray) -> np.ndarray:
    """[3, 3] -> xyzw [4], w >= 0."""
    w, x, y, z = quaternions.mat2quat(m)
    return np.array([x, y, z, w])


def quaternion_from_rpy(roll: float, pitch: float, yaw: float) -> np.ndarray:
    w, x, y, z = euler.euler2quat(roll, pitch, yaw, "sxyz")
    return np.array([x, y, z, w])


def rotation_vector(m: np.ndarray) -> np.ndarray:
    """[3, 3] -> axis times angle, rad, angle in [0, pi]."""
    axis, angle = axangles.mat2axangle(m)
    return np.asarray(axis, dtype=np.float64) * angle


def matrix_from_rotation_vector(v: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(v))
    return np.eye(3) if angle < 1e-12 else axangles.axangle2mat(v / angle, angle, is_normalized=True)


def yaw_of(q: np.ndarray) -> float:
    """Rotation about the base z axis of a frame's x axis, rad in (-pi, pi]."""
    m = quaternion_to_matrix(q)
    return float(np.arctan2(m[1, 0], m[0, 0]))
