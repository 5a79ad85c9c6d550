"""Control steps per second of SimCell without cameras, 1 kHz torque control included, against bare PyBullet stepping of the same world."""

from __future__ import annotations

import numpy as np
import pybullet

from benchmarks.common import BenchResult, Measure, seconds, turns


def run(quick: bool = False) -> BenchResult:
    from apprentice_core.cell import ResetRequest
    from apprentice_sim.sim_cell import SimCell

    cell = SimCell("sawyer_lift", "lift_demo", seed=0, cameras=False)
    try:
        steps, rounds = (20, 3) if quick else (80, 9)
        substeps = round(cell.spec.timing.control_period / cell.backend.period)
        rng = np.random.default_rng(0)
        cell.reset(ResetRequest("full", seed=0))

        def ours() -> float:
            actions = rng.uniform(-1, 1, (steps, cell.spec.action_space.size)).astype(np.float32)
            actions[:, 2] = 0.0  # stays above the blocks: contacts would be the world's cost, not ours
            actions[:, 6] = -1.0
            return steps / seconds(lambda: [cell.step(a) for a in actions])

        def bare() -> float:
            # Without torques the arm would fall into the basket and change the world: velocity motors hold it.
            joints = [cell.world.joint_index[name] for name in cell.profile.arm_joints]
            hold = {"controlMode": pybullet.VELOCITY_CONTROL, "physicsClientId": cell.world.client}
            pybullet.setJointMotorControlArray(cell.world.robot, joints, forces=[200.0] * len(joints), **hold)
            time = seconds(lambda: [pybullet.stepSimulation(physicsClientId=cell.world.client) for _ in range(steps * substeps)])
            pybullet.setJointMotorControlArray(cell.world.robot, joints, forces=[0.0] * len(joints), **hold)
            cell.reset(ResetRequest("full", seed=0))
            return steps / time

        rate = turns({"sim_cell": ours, "bare": bare}, rounds)
    finally:
        cell.close()
    return BenchResult(
        bench="sim",
        ratio=rate["sim_cell"] / rate["bare"],
        target=0.5,
        reference=f"{substeps} bare stepSimulation calls a control step, same world, same run",
        measures={
            "sim_cell_steps": Measure(round(rate["sim_cell"], 1), "1/s"),
            "bare_steps": Measure(round(rate["bare"], 1), "1/s"),
            "times_real_time": Measure(round(rate["sim_cell"] * cell.spec.timing.control_period, 2), ""),
        },
    )
