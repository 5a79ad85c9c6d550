"""From raw wrench samples and tool poses to the filtered wrench, by stamp and not by arrival."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from apprentice_core.rotations import quaternion_to_matrix
from apprentice_core.wrench import WrenchConfig, WrenchFilter


@dataclass(frozen=True)
class Sample:
    """`stamp` in ns; `value` filtered wrench float64 [6] (N, N m), on the tool by the world, sensor frame."""

    stamp: int
    value: np.ndarray


class ForcePipeline:
    """Tare, payload compensation and low-pass of one wrist sensor.

    With a payload, a wrench waits until a pose with a stamp at least as new has come, so that the result does not depend on
    the order in which DDS delivers; after `patience` seconds of newer wrenches without a pose it goes on with the last one.
    `mount`: rotation of the sensor frame in the tool frame, [3, 3]. `signs`: per-axis factors of the raw values.
    """

    def __init__(
        self, config: WrenchConfig, mount: np.ndarray | None = None, signs: np.ndarray | None = None,
        patience: float = 0.25, history: int = 200,
    ):
        self.filter = WrenchFilter(config)
        self._mount = np.eye(3) if mount is None else mount
        self._signs = np.ones(6) if signs is None else signs
        self._needs_pose = config.payload_mass > 0
        self._patience = round(patience * 1e9)
        self._waiting: deque[tuple[int, np.ndarray]] = deque()
        self._pose: tuple[int, np.ndarray] | None = None
        self._recent: deque[tuple[int, np.ndarray, np.ndarray]] = deque(maxlen=history)
        self._last: Sample | None = None
        self.late_poses = self.invalid = 0

    def offer_pose(self, stamp: int, quaternion: np.ndarray) -> list[Sample]:
        """A tool orientation (xyzw, base frame); returns the wrenches that waited for it."""
        if self._pose is None or stamp > self._pose[0]:
            self._pose = (stamp, quaternion_to_matrix(quaternion) @ self._mount)
        return self._drain()

    def offer_wrench(self, stamp: int, raw: np.ndarray) -> list[Sample]:
        """A raw sample float64 [6]; returns what is ready. The stamp of the last sample again gives that sample again."""
        if self._last is not None and stamp <= self._last.stamp:
            return [self._last] if stamp == self._last.stamp else []
        if self._waiting and stamp <= self._waiting[-1][0]:
            return []
        self._waiting.append((stamp, raw * self._signs))
        return self._drain()

    def _drain(self) -> list[Sample]:
        out = []
        while self._waiting:
            stamp, raw = self._waiting[0]
            if self._needs_pose and (self._pose is None or self._pose[0] < stamp):
                if self._pose is None or self._waiting[-1][0] - stamp < self._patience:
                    break
                self.late_poses += 1
            self._waiting.popleft()
            sample = self._filter(stamp, raw)
            if sample is not None:
                out.append(sample)
        return out

    def _filter(self, stamp: int, raw: np.ndarray) -> Sample | None:
        rotation = np.eye(3) if self._pose is None else self._pose[1]
        dt = (stamp - self._last.stamp) * 1e-9 if self._last is not None else 0.01
        try:
            value = self.filter.update(raw, rotation, dt)
        except ValueError:
            self.invalid += 1
            return None
        self._recent.append((stamp, raw, rotation))
        self._last = Sample(stamp, value.copy())
        return self._last

    def tare(self, until: int, window: float, still: float) -> tuple[bool, str]:
        """Makes the mean of the samples in the `window` seconds before stamp `until` the zero.

        Refused when there are fewer than two, or when a force component strays by more than `still` N (the arm moves).
        """
        first = until - round(window * 1e9)
        chosen = [(raw, rotation) for stamp, raw, rotation in self._recent if first <= stamp <= until]
        if len(chosen) < 2:
            return False, f"only {len(chosen)} samples in the last {window:g} s"
        raws = np.array([raw for raw, _ in chosen])
        spread = float(np.max(np.ptp(raws[:, :3], axis=0)))
        if spread > still:
            return False, f"the arm is not still: force varied by {spread:.2f} N"
        self.filter.tare(raws, chosen[-1][1])
        return True, f"zeroed on {len(chosen)} samples"
