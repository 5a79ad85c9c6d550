"""Observations of a simulated cell: proprioception from the loop, images from the renderer, with injected delay and jitter."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apprentice_control.arm_loop import ArmLoop
from apprentice_control.observation_delays import ObservationDelays
from apprentice_core.config import CameraConfig, Timing
from apprentice_core.spaces import Observation
from apprentice_core.streams import CONNECTED
from apprentice_sim.connection import ConnectionSensor
from apprentice_sim.pybullet_backend import PyBulletBackend
from apprentice_sim.renderer import Renderer
from apprentice_sim.tracked_objects import TrackedObjects
from apprentice_sim.world import WorldState


@dataclass(frozen=True)
class Capture:
    """An observation and the privileged state beside it, acquired at `stamp`, s; `lost`: objects whose tracked pose is too old."""

    observation: Observation
    privileged: Observation
    stamp: float
    lost: tuple[str, ...] = ()


class Observer:
    """Captures at the moment that the policy is to see `observation_delay` (and up to `jitter` more, seeded) later."""

    def __init__(self, loop: ArmLoop, backend: PyBulletBackend, cameras: Mapping[str, CameraConfig], timing: Timing, seed: int,
                 connection: ConnectionSensor | None = None, tracked: TrackedObjects | None = None):
        self.loop, self.backend, self.timing, self.connection, self.tracked = loop, backend, timing, connection, tracked
        self.renderer = Renderer(backend.world, cameras)
        # Node time: simulated, starting at wall time. The backend counts from zero, where floats are fine enough for its filters.
        self._epoch = time.time()
        self._delays = ObservationDelays(timing, backend.period, seed)
        self._history: deque[Capture] = deque(maxlen=2 + int((timing.observation_delay + timing.jitter) / timing.control_period))
        self._whole = 0

    def proprioception(self) -> Observation:
        """Joints, gripper, tool, wrench and connection at this moment, float32."""
        state = self.backend.read()
        # Not loop.tool: that is one physics step older than what the cameras see.
        kinematics = self.loop.kinematics
        placed = kinematics.forward(state.position)
        pose, twist = np.concatenate([placed.position, placed.quaternion]), kinematics.jacobian(state.position) @ state.velocity
        arrays = {
            "joints/position": state.position, "joints/velocity": state.velocity, "joints/effort": state.effort,
            "gripper/position": state.gripper_position, "gripper/velocity": state.gripper_velocity, "gripper/effort": state.gripper_effort,
            "tool/pose": pose, "tool/twist": twist, "wrist/wrench": self.loop.wrench,
        }
        if self.connection is not None:
            arrays[CONNECTED] = np.array([self.connection.connected()])
        return {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}

    def capture(self) -> Capture:
        observation = self.proprioception()
        for name in self.renderer.cameras:
            observation[f"camera/{name}"] = self.renderer.render(name)
        poses, lost = ({}, ()) if self.tracked is None else self.tracked.look(self.backend.stamp)
        return Capture(observation | poses, self.privileged(), self._epoch + self.backend.stamp, lost)

    def privileged(self) -> Observation:
        """object/<name>/pose [7] and /twist [6], float32, at this moment."""
        parts = ((n, zip(("pose", "twist"), arrays, strict=True)) for n, arrays in self.backend.world.objects().items())
        return {f"object/{n}/{kind}": array.astype(np.float32) for n, pair in parts for kind, array in pair}

    def draw(self, state: WorldState) -> Observation:
        """camera/<name> -> image of a saved state; the present state is kept."""
        world = self.backend.world
        present = world.save_state()
        try:
            world.restore_state(state)
            return {f"camera/{n}": self.renderer.render(n) for n in self.renderer.cameras}
        finally:
            world.restore_state(present)
            world.drop_state(present)

    def restart(self) -> None:
        """A new episode: nothing older than now is seen."""
        if self.tracked is not None:
            self.tracked.restart()
        self._history.clear()
        self._history.append(self.capture())
        self._whole = 0

    def next_capture(self, steps: int) -> int:
        """After how many of a period's physics steps to capture; draws the delay of that observation."""
        self._whole, part = divmod(self._delays.draw(), steps)
        return steps - part

    def take(self) -> None:
        self._history.append(self.capture())

    @property
    def current(self) -> Capture:
        """What the policy sees now."""
        return self._history[-1 - min(self._whole, len(self._history) - 1)]
