"""Can PyBullet's deformable bodies carry lift_cloth (spec 000)? A cloth before the Sawyer, grasped in its middle and lifted.

Prints what became of it as JSON: python -m benchmarks.beside.cloth [physics steps a second]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pybullet as p

from apprentice_core.config import load_robot, urdf_path

SIDE, CELLS, MASS = 0.15, 12, 0.03
"""of the cloth: m, squares along a side, kg"""
LOW, HIGH = 0.012, 0.14
"""pinch point at the grasp and after lifting, m"""


def cloth_mesh(path: Path) -> None:
    n = CELLS
    vertices = [f"v {SIDE * (i / n - 0.5):.5f} {SIDE * (j / n - 0.5):.5f} 0.0" for i in range(n + 1) for j in range(n + 1)]
    faces = []
    for i in range(n):
        for j in range(n):
            a = i * (n + 1) + j + 1
            faces += [f"f {a} {a + n + 1} {a + 1}", f"f {a + 1} {a + n + 1} {a + n + 2}"]
    path.write_text("\n".join(vertices + faces) + "\n", encoding="utf-8")


class Bench:
    """A deformable world with the arm, a floor and the cloth under the gripper."""

    def __init__(self, rate: float, mesh: Path):
        self.rate, self.profile = rate, load_robot("sawyer")
        p.connect(p.DIRECT)
        p.resetSimulation(p.RESET_USE_DEFORMABLE_WORLD)
        p.setGravity(0.0, 0.0, -9.81)
        p.setPhysicsEngineParameter(fixedTimeStep=1.0 / rate, numSolverIterations=20, sparseSdfVoxelSize=0.25)
        floor = p.createMultiBody(0, p.createCollisionShape(p.GEOM_BOX, halfExtents=[0.19, 0.19, 0.05]), -1, [0.6, 0.0, -0.05])
        p.changeDynamics(floor, -1, lateralFriction=0.6)
        self.arm = p.loadURDF(str(urdf_path(self.profile)), useFixedBase=True, flags=p.URDF_USE_INERTIA_FROM_FILE)
        info = [p.getJointInfo(self.arm, i) for i in range(p.getNumJoints(self.arm))]
        self.joints = {i[1].decode(): i[0] for i in info}
        self.movable = [i[0] for i in info if i[2] != p.JOINT_FIXED]
        self.tool = next(i[0] for i in info if i[12].decode() == self.profile.tool_frame)
        names = (*self.profile.arm_joints, *self.profile.gripper.joints)
        for name, value in zip(names, (*self.profile.home, *self.profile.gripper.open), strict=True):
            p.resetJointState(self.arm, self.joints[name], value)
        for name in self.profile.gripper.joints:
            p.changeDynamics(self.arm, self.joints[name], lateralFriction=1.2)
        self.attitude = p.getLinkState(self.arm, self.tool, computeForwardKinematics=1)[5]
        self.cloth = p.loadSoftBody(
            str(mesh), basePosition=[0.6, 0.0, 0.01], scale=1, mass=MASS, useNeoHookean=0, useBendingSprings=1, useMassSpring=1,
            springElasticStiffness=20, springDampingStiffness=0.1, springDampingAllDirections=1, useSelfCollision=0, frictionCoeff=1.0,
            useFaceContact=1, collisionMargin=0.004,
        )

    def vertices(self) -> np.ndarray:
        return np.array(p.getMeshData(self.cloth, -1, flags=p.MESH_DATA_SIMULATION_MESH)[1])

    def move(self, seconds: float, start: float, end: float, gripper: Sequence[float]) -> float:
        """Drives the pinch point from one height to another; wall seconds for each simulated one."""
        began, steps = time.monotonic(), int(seconds * self.rate)
        for i in range(steps):
            if i % max(1, int(self.rate / 50)) == 0:
                height = start + (end - start) * min(1.0, 1.2 * i / steps)
                solved = p.calculateInverseKinematics(self.arm, self.tool, [0.6, 0.0, height], self.attitude, maxNumIterations=200)
                wanted = dict(zip(self.movable, solved, strict=True))
                for name in self.profile.arm_joints:
                    joint = self.joints[name]
                    p.setJointMotorControl2(self.arm, joint, p.POSITION_CONTROL, wanted[joint], force=200)
                for name, value in zip(self.profile.gripper.joints, gripper, strict=True):
                    p.setJointMotorControl2(self.arm, self.joints[name], p.POSITION_CONTROL, value, force=20, maxVelocity=0.1)
            p.stepSimulation()
        return (time.monotonic() - began) / seconds


def main(rate: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder) / "cloth.obj"
        cloth_mesh(mesh)
        bench = Bench(rate, mesh)
    opened, closed = bench.profile.gripper.open, (0.0, 0.0)
    saved = p.saveState()
    out: dict[str, object] = {"rate": rate, "vertices": len(bench.vertices())}
    phases = {
        "down": (1.5, 0.10, LOW, opened), "closed": (1.0, LOW, LOW, closed),
        "lifted": (1.5, LOW, HIGH, closed), "held": (1.0, HIGH, HIGH, closed),
    }
    for name, (seconds, start, end, gripper) in phases.items():
        wall = bench.move(seconds, start, end, gripper)
        z = bench.vertices()[:, 2]
        finite = bool(np.isfinite(z).all())
        out[name] = {"lowest": float(z.min()), "highest": float(z.max()), "finite": finite, "wall_s_per_s": round(wall, 2)}
    before = bench.vertices()
    p.restoreState(saved)
    out["restored"] = not np.allclose(before, bench.vertices())
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1000.0)
