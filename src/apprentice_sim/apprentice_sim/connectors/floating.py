"""The fast world of chapter 10: a plug on a spring instead of an arm, above its socket, seen by one fixed camera.

An arm that is stiff, force limited and holds its orientation is, to the plug, a mass on a spring that gives way; without its joints a
control step costs a few milliseconds, image included. SimCell with scene `insertion` is the same connector on the whole arm.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pybullet as p
from PIL import Image

from apprentice_core.images import to_record_size
from apprentice_core.rewards.calibrated_pose import ASIDE, INSERTED
from apprentice_sim.bodies import Body, Part
from apprentice_sim.body_factory import BodyFactory
from apprentice_sim.connectors.connector import Connector
from apprentice_sim.connectors.family import ROBOT_VIEWS, Look, domain_look

RATE, PERIOD = 500, 0.1
"""physics steps a second, and s a control step (spec 001c section 1.1: up to 10 Hz)"""
MASS, INERTIA = 1.0, 5e-3
"""what of the arm moves with the tool, kg and kg m^2: Sawyer's own at its home pose are 0.5 to 3.7 kg (ours)"""
STIFFNESS, DAMPING, TWIST, TWIST_DAMPING = 4000.0, 126.0, 60.0, 1.1
"""of the arm at the tool, N/m, N s/m, N m/rad, N m s/rad, near critical (ours)"""
FORCE = 25.0
"""N, the most the spring gives (ours; spec 001c section 1.2: 20 N soft, 50 N hard)"""
STEP, BOX, TOP = 0.005, 0.04, 0.06
"""m: displacement a step and axis (ours: with the 0.01 that spec section 1.2 allows, two of an episode's twenty steps go sideways and the
rest presses), sideways bound about the socket and upper bound above its floor (section 8)"""
SAMPLES = 2
"""a pixel is the mean of so many squared, so that less than a pixel of way still shows (ours)"""
SHADOWS = 1
PICTURE = f"{ROBOT_VIEWS} {SAMPLES} {SHADOWS}"
"""what decides a picture beside the domain's look: data of another tell a model of this one nothing"""
ABOVE = 0.02
"""m above contact at the start (spec 001c section 4.6)"""


@dataclass(frozen=True)
class FloatingStep:
    """`image` uint8 [S, S, 3]; `error` [3] m, tip minus the socket's floor; `inserted`: the label of a calibrated pose; `force` [3] N of
    the spring on the plug."""

    image: np.ndarray
    error: np.ndarray
    inserted: bool
    force: np.ndarray


def pattern(seed: int, size: int, tone: np.ndarray, depth: float = 0.35) -> np.ndarray:
    """A smooth random texture about the colour `tone` [3] in [0, 1], uint8 [size, size, 3]."""
    rng = np.random.default_rng(seed)
    out = np.zeros((size, size))
    for cells in (2, 4, 9):
        noise = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
        out += np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)) / cells**0.5
    return np.clip((tone * (1.0 + depth * out[..., None])) * 255.0, 0, 255).astype(np.uint8)


class FloatingPlug:
    """One domain: a connector on virtual robot 0 or 1, whose cameras differ. Equal seeds give equal trajectories.

    `size`: of the image. `look`: by default what the domain's name draws (texture, light, background, camera jitter).
    """

    def __init__(self, connector: Connector, robot: int = 0, size: int = 64, look: Look | None = None):
        self.connector, self.robot, self.size = connector, robot, size
        self.look = domain_look(connector.name, robot) if look is None else look
        self.client = p.connect(p.DIRECT)
        p.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / RATE, numSolverIterations=50, contactERP=0.8, contactBreakingThreshold=1e-3, enableFileCaching=0,
            deterministicOverlappingPairs=1, physicsClientId=self.client,
        )
        make = BodyFactory(self.client).create
        contacts = connector.contacts()
        self._socket = make(connector.socket())
        if contacts is not None:
            make(contacts)
        self._plug = make(replace(connector.plug(), mass=MASS, inertia=INERTIA))
        self._handle = make(Body("handle", "handle", (Part("box", (0.022, 0.030, 0.05)),), (*connector.handle_colour,), collides=False))
        board = make(Body("board", "board", (Part("box", (0.30, 0.30, 0.01)),), (1.0, 1.0, 1.0, 1.0), collides=False).at(0, 0, -0.017, 0.0))
        self._paint(board)
        self._view, self._projection = self._camera()
        self._sky = pattern(9000 + self.look.background, SAMPLES * size, np.random.default_rng(self.look.background).uniform(0.25, 0.85, 3))
        self._at, self._scatter = np.zeros(3), np.zeros(3)
        self._upright = np.array([0.0, 0.0, 0.0, 1.0])
        self._force = np.zeros(3)

    def _paint(self, board: int) -> None:
        tone = np.random.default_rng(self.look.texture).uniform(0.3, 0.9, 3)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "board.png"
            Image.fromarray(pattern(self.look.texture, 64, tone)).save(file)
            texture = p.loadTexture(str(file), physicsClientId=self.client)
        p.changeVisualShape(board, -1, textureUniqueId=texture, physicsClientId=self.client)

    def _camera(self) -> tuple[list[float], list[float]]:
        eye, fov = ROBOT_VIEWS[self.robot]
        jitter = np.array(self.look.jitter)
        target = np.array([0.0, 0.0, 0.018]) + jitter[3:]
        view = p.computeViewMatrix((np.array(eye) + jitter[:3]).tolist(), target.tolist(), [0, 0, 1])
        return list(view), list(p.computeProjectionMatrixFOV(fov, 1.0, 0.05, 2.0))

    def reset(self, offset: tuple[float, float], seed: int) -> FloatingStep:
        """The plug `ABOVE` contact, its tip `offset` m beside the socket's axis; the seed draws the error of the grasp."""
        rng = np.random.default_rng([seed, 3])
        aside, _, yaw, tilt = self.connector.scatter
        self._scatter = np.append(rng.normal(0.0, aside, 2), 0.0)
        turn = rng.normal(0.0, 1.0, 3) * [tilt, tilt, yaw]
        self._upright = np.array(p.getQuaternionFromEuler(turn.tolist()))
        self._at = np.array([*offset, self.connector.depth + ABOVE])
        position = self._at + self._scatter + [0.0, 0.0, self.connector.reach]
        p.resetBasePositionAndOrientation(self._plug, position.tolist(), self._upright.tolist(), physicsClientId=self.client)
        p.resetBaseVelocity(self._plug, [0, 0, 0], [0, 0, 0], physicsClientId=self.client)
        self._force = np.zeros(3)
        return self._seen()

    @property
    def tip(self) -> np.ndarray:
        """Where the arm believes the tip to be, [3] m from the socket's floor: without the error of the grasp."""
        position, quaternion = p.getBasePositionAndOrientation(self._plug, physicsClientId=self.client)
        down = np.array(p.getMatrixFromQuaternion(quaternion)).reshape(3, 3)[:, 2] * self.connector.reach
        return np.array(position) - down - self._scatter

    @property
    def orientation(self) -> np.ndarray:
        """Of the plug, quaternion xyzw [4]."""
        return np.array(p.getBasePositionAndOrientation(self._plug, physicsClientId=self.client)[1])

    def step(self, action: np.ndarray) -> FloatingStep:
        """One control step; `action` [3] in [-1, 1], +-1 is `STEP`, from the measured position (spec 001c section 1.1)."""
        low, high = [-BOX, -BOX, -0.01], [BOX, BOX, TOP]
        goal = np.clip(self.tip + STEP * np.clip(action, -1.0, 1.0), low, high)
        steps = round(RATE * PERIOD)
        start = self._at
        # The spring's end follows a straight line and never runs further ahead than what gives the most force.
        for i in range(1, steps + 1):
            self._pull(start + (goal - start) * (i / steps))
            p.stepSimulation(physicsClientId=self.client)
        self._at = goal
        return self._seen()

    def _pull(self, end: np.ndarray) -> None:
        client, plug = self.client, self._plug
        position, q = p.getBasePositionAndOrientation(plug, physicsClientId=client)
        v, w = p.getBaseVelocity(plug, physicsClientId=client)
        s, reach = self._scatter, self.connector.reach
        ex, ey, ez = (float(end[k]) + float(s[k]) - position[k] for k in range(3))
        ez += reach
        fx, fy, fz = STIFFNESS * ex - DAMPING * v[0], STIFFNESS * ey - DAMPING * v[1], STIFFNESS * ez - DAMPING * v[2]
        scale = FORCE / max(FORCE, (fx * fx + fy * fy + fz * fz) ** 0.5)
        force = [scale * fx, scale * fy, scale * fz]
        # Small angles: twice the vector part of the quaternion that is left to go.
        u = self._upright
        left = (
            u[0] * q[3] - u[3] * q[0] - u[1] * q[2] + u[2] * q[1],
            u[1] * q[3] - u[3] * q[1] - u[2] * q[0] + u[0] * q[2],
            u[2] * q[3] - u[3] * q[2] - u[0] * q[1] + u[1] * q[0],
        )
        torque = [float(TWIST * 2.0 * left[k] - TWIST_DAMPING * w[k]) for k in range(3)]
        p.applyExternalForce(plug, -1, force, position, p.WORLD_FRAME, physicsClientId=client)
        p.applyExternalTorque(plug, -1, torque, p.WORLD_FRAME, physicsClientId=client)
        self._force = np.array(force)

    def _seen(self) -> FloatingStep:
        error = self.tip + self._scatter
        inside = error[2] < INSERTED and float(np.abs(error[:2]).max()) < ASIDE
        return FloatingStep(self.render(), error, bool(inside), self._force)

    def render(self) -> np.ndarray:
        """uint8 [size, size, 3] as the robot's camera sees it now."""
        position, quaternion = p.getBasePositionAndOrientation(self._plug, physicsClientId=self.client)
        hand = [position[0], position[1], position[2] + 0.03]
        p.resetBasePositionAndOrientation(self._handle, hand, quaternion, physicsClientId=self.client)
        size = SAMPLES * self.size
        _, _, rgba, depth, _ = p.getCameraImage(
            size, size, self._view, self._projection, lightDirection=self.look.light, lightAmbientCoeff=0.55,
            lightDiffuseCoeff=0.5, lightSpecularCoeff=0.05, shadow=SHADOWS,
            flags=p.ER_NO_SEGMENTATION_MASK, renderer=p.ER_TINY_RENDERER, physicsClientId=self.client,
        )
        rgb = np.reshape(rgba, (size, size, 4))[:, :, :3].astype(np.uint8)
        far = np.reshape(depth, (size, size)) >= 1.0
        return to_record_size(np.where(far[..., None], self._sky, rgb), (self.size, self.size))

    def close(self) -> None:
        if self.client >= 0:
            p.disconnect(physicsClientId=self.client)
            self.client = -1
