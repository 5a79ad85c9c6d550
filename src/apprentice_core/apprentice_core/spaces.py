"""Observation and action spaces (contract 2): named arrays with declared shape, dtype and unit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class ArraySpec:
    """One named array: `shape` without time or batch axes, numpy `dtype` name, SI `unit` ('' where it has none)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""

    def check(self, array: np.ndarray) -> None:
        """Raises ValueError naming the array when shape or dtype differ, or a float is not finite."""
        if tuple(array.shape) != self.shape:
            raise ValueError(f"{self.name}: shape {tuple(array.shape)}, expected {self.shape}")
        if array.dtype != np.dtype(self.dtype):
            raise ValueError(f"{self.name}: dtype {array.dtype}, expected {self.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{self.name}: holds NaN or infinity")


def check_observation(observation: Mapping[str, np.ndarray], specs: Sequence[ArraySpec]) -> None:
    """Raises ValueError naming the first array of `specs` that is absent or of the wrong form."""
    for spec in specs:
        if spec.name not in observation:
            raise ValueError(f"observation lacks {spec.name}")
        spec.check(observation[spec.name])


def observation_digest(observation: Mapping[str, np.ndarray], names: Sequence[str] | None = None) -> str:
    """16 hex digits (blake2b-64) over names, shapes, dtypes and bytes: equal digests mean the same tensors bit for bit."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(observation if names is None else names):
        array = np.ascontiguousarray(observation[name])
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(array.data)
    return digest.hexdigest()


@dataclass(frozen=True)
class ActionDimension:
    """One axis: normalised [-1, 1] maps linearly to [low, high] in `unit`; a binary axis closes above 0."""

    name: str
    low: float
    high: float
    unit: str = ""
    binary: bool = False


@dataclass(frozen=True)
class ActionSpace:
    """A named action space; the one place where [-1, 1] becomes SI and back (spec 000 lines 17-18)."""

    name: str
    dimensions: tuple[ActionDimension, ...]
    frame: str = "base"
    _low: np.ndarray = field(init=False, repr=False, compare=False)
    _high: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_low", np.array([d.low for d in self.dimensions], dtype=np.float64))
        object.__setattr__(self, "_high", np.array([d.high for d in self.dimensions], dtype=np.float64))

    @property
    def size(self) -> int:
        return len(self.dimensions)

    @property
    def hash(self) -> str:
        """Identifies the meaning of the numbers: changes with any name, bound, unit or frame."""
        text = json.dumps({"name": self.name, "frame": self.frame, "dimensions": [asdict(d) for d in self.dimensions]}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def to_si(self, action: np.ndarray) -> np.ndarray:
        """float64 [size] in SI; `action` must be finite and is clipped to [-1, 1]."""
        a = np.minimum(np.maximum(np.asarray(action, dtype=np.float64), -1.0), 1.0)
        return self._low + (a + 1.0) * 0.5 * (self._high - self._low)

    def from_si(self, value: np.ndarray) -> np.ndarray:
        """float32 [size] in [-1, 1]; the inverse of `to_si` within the bounds."""
        v = (np.asarray(value, dtype=np.float64) - self._low) / (self._high - self._low) * 2.0 - 1.0
        return np.clip(v, -1.0, 1.0).astype(np.float32)

    def clean(self, action: object) -> tuple[np.ndarray, str]:
        """(float32 [size] in [-1, 1], fault). A wrong shape, NaN or infinity gives the neutral action and says why."""
        try:
            a = np.asarray(action, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            return self.neutral(), "not_numeric"
        if a.shape != (self.size,):
            return self.neutral(), f"shape {a.shape}, expected ({self.size},)"
        if not np.isfinite(a).all():
            return self.neutral(), "nan"
        return np.clip(a, -1.0, 1.0), ""

    def neutral(self) -> np.ndarray:
        """Zero motion (normalised); a binary gripper axis gets 0 and means: leave as it is."""
        return np.zeros(self.size, dtype=np.float32)


def cartesian_velocity_gripper(linear: float = 0.1, angular: float = 0.5) -> ActionSpace:
    """Spec 000 section 2.4: pinch-point velocities in the base frame, m/s and rad/s, and a binary gripper (> 0 closes)."""
    axes = [ActionDimension(f"v{a}", -linear, linear, "m/s") for a in "xyz"]
    axes += [ActionDimension(f"w{a}", -angular, angular, "rad/s") for a in "xyz"]
    return ActionSpace("cartesian_velocity_gripper", (*axes, ActionDimension("gripper", -1.0, 1.0, "", True)))


def cartesian_displacement(step: float = 0.01) -> ActionSpace:
    """Spec 001c section 1.1: relative end-effector displacement per step in metres, orientation held."""
    return ActionSpace("cartesian_displacement", tuple(ActionDimension(f"d{a}", -step, step, "m") for a in "xyz"))


def tool_velocity(linear: float = 0.1, angular: float = 0.5) -> ActionSpace:
    """Spec 000 section 2.14: six velocities of the tool along and about its own (the wrist's) axes, m/s and rad/s, no gripper."""
    axes = [ActionDimension(f"v{a}", -linear, linear, "m/s") for a in "xyz"]
    return ActionSpace("tool_velocity", (*axes, *(ActionDimension(f"w{a}", -angular, angular, "rad/s") for a in "xyz")), "tool")


def joint_velocity_gripper(joints: Sequence[str], speed: float = 0.6) -> ActionSpace:
    """Joint velocities in rad/s, joint order as given, and a binary gripper; used by resets."""
    axes = [ActionDimension(j, -speed, speed, "rad/s") for j in joints]
    return ActionSpace("joint_velocity_gripper", (*axes, ActionDimension("gripper", -1.0, 1.0, "", True)))
