"""100,000 random and hostile actions never produce a command outside the limits of the robot profile."""

import numpy as np
import pinocchio as pin
import pytest
from arms import ROBOTS, Rig

from apprentice_core.spaces import cartesian_displacement, cartesian_velocity_gripper, joint_velocity_gripper
from apprentice_core.wrench import WrenchConfig

ACTIONS = 50_000
"""a robot"""
CYCLE = 0.1
"""s; a coarse cycle, so that each action costs one cycle of the loop instead of a hundred"""


def hostile(rng, size):
    """One action out of a mix: plain, biased to one corner for a while, huge, not finite, of the wrong shape or no numbers at all."""
    kind = rng.integers(12)
    if kind < 6:
        return rng.uniform(-1, 1, size).astype(np.float32)
    if kind == 6:
        return rng.choice([-1.0, 1.0], size)
    if kind == 7:
        return rng.normal(size=size) * 10.0 ** rng.uniform(0, 300)
    if kind == 8:
        values = rng.uniform(-1, 1, size)
        values[rng.integers(size)] = rng.choice([np.nan, np.inf, -np.inf])
        return values
    if kind == 9:
        return rng.uniform(-1, 1, tuple(rng.integers(0, 9, rng.integers(0, 3))))
    if kind == 10:
        return rng.integers(-(2**62), 2**62, size)
    odd = [None, "stop", "1234567", b"\x00\xff", {}, [None] * size, ["nan"] * size, 1j, object(), 10**400, [10**400] * size]
    return odd[rng.integers(len(odd))]


class Watch:
    """Checks every command of the loop against the profile itself, not against what the loop took from it."""

    def __init__(self, rig):
        profile, limits = rig.profile, rig.profile.limits
        self.rig, self.torque = rig, profile.control == "torque"
        kinematics = rig.loop.kinematics
        self.low, self.high = kinematics.lower + limits.joint_margin - 1e-9, kinematics.upper - limits.joint_margin + 1e-9
        self.velocity = np.array(limits.joint_velocity) * (1 + 1e-6)
        self.box_low, self.box_high = np.array(limits.workspace.low) - 1e-6, np.array(limits.workspace.high) + 1e-6
        self.rotation = np.array(limits.rotation) + 1e-6
        self.home = kinematics.forward(np.array(profile.home)).rotation
        self.tau_max, self.effort = np.array(profile.gains.tau_max) + 1e-9, kinematics.effort
        self.last = rig.loop.setpoint.position.copy()

    def cycle(self):
        rig, q = self.rig, self.rig.loop.setpoint.position
        assert (q >= self.low).all() and (q <= self.high).all()
        assert (np.abs(q - self.last) <= self.velocity * rig.arm.period).all()
        self.last[:] = q
        self.pose()
        if self.torque:
            gravity = rig.loop.kinematics.gravity(rig.arm.position)
            assert np.isfinite(rig.arm.torque).all()
            assert (np.abs(rig.arm.torque) <= self.effort).all()
            assert (np.abs(rig.arm.torque - gravity) <= self.tau_max).all()
        else:
            assert (rig.arm.target == q).all()

    def pose(self):
        pose = self.rig.loop.kinematics.forward(self.rig.loop.setpoint.position)
        assert (pose.position >= self.box_low).all() and (pose.position <= self.box_high).all(), pose.position
        assert (np.abs(pin.log3(pose.rotation @ self.home.T)) <= self.rotation).all()


@pytest.mark.parametrize("robot", ROBOTS)
def test_hostile_actions_at_any_moment_of_a_sliced_plan_stay_within_the_profile(robot):
    """As at pace realtime: an answer comes while the last move goes on, and its plan is made meanwhile."""
    rig = Rig(robot, cycle=CYCLE / 20, sliced=True)
    rig.weigh, rig.arm.wrench, rig.loop.wrench_filter.config = lambda: None, np.zeros(6), WrenchConfig(stuck_samples=10**9)
    watch, rng = Watch(rig), np.random.default_rng(4)
    spaces = [cartesian_velocity_gripper(3.0, 20.0), joint_velocity_gripper(rig.profile.arm_joints, 50.0)]
    caught = 0
    for i in range(600):
        if i % 10 == 0:
            space = spaces[rng.integers(len(spaces))]
        rig.submit(hostile(rng, space.size), space)
        rig.run(int(rng.integers(4, 25)), watch.cycle)
        caught += rig.loop.planning or rig.loop.setpoint.moving
    assert caught > 200 and rig.loop.counters.clamps > 200


@pytest.mark.parametrize("robot", ROBOTS)
def test_hostile_actions_stay_within_the_profile(robot):
    rig = Rig(robot, cycle=CYCLE)
    # No force here: an unloaded sensor that weighs nothing.
    rig.weigh, rig.arm.wrench, rig.loop.wrench_filter.config = lambda: None, np.zeros(6), WrenchConfig(stuck_samples=10**9)
    watch, rng = Watch(rig), np.random.default_rng(2)
    spaces = [cartesian_velocity_gripper(), cartesian_velocity_gripper(3.0, 20.0), cartesian_displacement(0.5),
              joint_velocity_gripper(rig.profile.arm_joints, 0.6), joint_velocity_gripper(rig.profile.arm_joints, 50.0)]
    kept, space, moved = None, spaces[0], 0.0
    for i in range(ACTIONS):
        if i % 10 == 0:
            # Ten steps into one direction, so that walls and joint limits are really reached.
            space = spaces[rng.integers(len(spaces))]
            kept = rng.uniform(-1, 1, space.size) if rng.random() < 0.5 else None
        values = kept if kept is not None and rng.random() < 0.8 else hostile(rng, space.size)
        before = rig.loop.setpoint.position.copy()
        record = rig.act(values, space, each=watch.cycle)
        assert record.outcome == "applied" and np.isfinite(record.executed).all() and (np.abs(record.executed) <= 1).all()
        moved += float(np.abs(rig.loop.setpoint.position - before).sum())
        rig.loop.drain_events()
    assert moved > 100, "the actions must really move the arm"
    assert rig.loop.counters.clamps > ACTIONS / 10
