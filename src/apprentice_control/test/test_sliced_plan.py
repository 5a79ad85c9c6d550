"""At pace realtime a plan is made in slices, one a cycle: the same plan, an even set point, and whatever strikes meanwhile comes first."""

import numpy as np
import pytest
from arms import ROBOTS, Rig

from apprentice_control.estop import EstopLatch
from apprentice_core.spaces import joint_velocity_gripper

VALUES = np.array([0.5, -0.4, -0.3, 0.1, 0.0, 0.4, 1.0], dtype=np.float32)
PLANNED = 12
"""cycles in which every plan is whole"""


def _under_way(rig, values=VALUES, **kwargs):
    rig.submit(values, **kwargs)
    rig.run(2)
    assert rig.loop.planning
    return rig


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("joints", [False, True])
def test_the_plan_is_the_same_as_at_once(robot, joints):
    rigs = [Rig(robot), Rig(robot, sliced=True)]
    n = len(rigs[0].profile.arm_joints)
    space = joint_velocity_gripper(rigs[0].profile.arm_joints, 0.6) if joints else None
    rng = np.random.default_rng(3)
    for _ in range(12):
        values = rng.uniform(-1, 1, n + 1 if joints else 7).astype(np.float32)
        # Both stand at the end of the last move when they begin.
        once, sliced = (rig.act(values, space, cycles=rig.loop.cycles + PLANNED) for rig in rigs)
        assert sliced.outcome == "applied" and [s.name for s in sliced.stages] == [s.name for s in once.stages]
        assert (sliced.executed == once.executed).all() and sliced.stages == once.stages
        np.testing.assert_array_equal(rigs[0].loop.setpoint.position, rigs[1].loop.setpoint.position)
    assert rigs[0].arm.closed == rigs[1].arm.closed


def test_the_set_point_does_not_stutter_between_answers():
    rig, positions = Rig(sliced=True), []
    for _ in range(5):
        rig.act(np.array([0.6, 0.3, 0, 0, 0, 0, 0], np.float32), each=lambda: positions.append(rig.loop.setpoint.position.copy()))
    speed = np.linalg.norm(np.diff(np.array(positions), axis=0), axis=1) / rig.arm.period
    begun = int(np.argmax(speed > 0))
    assert begun < PLANNED
    assert speed[begun:].min() > 0.9 * speed[begun:].max(), "it moves on while the next plan is made"


def test_a_plan_begun_in_mid_move_keeps_the_speed_limits():
    rig, rng = Rig(sliced=True), np.random.default_rng(5)
    space = joint_velocity_gripper(rig.profile.arm_joints, 9.0)
    last, fastest = rig.loop.setpoint.position.copy(), np.zeros(rig.loop.kinematics.n)

    def look():
        np.maximum(fastest, np.abs(rig.loop.setpoint.position - last) / rig.arm.period, out=fastest)
        last[:] = rig.loop.setpoint.position

    for _ in range(60):
        rig.act(rng.choice([-1.0, 0.0, 1.0], 8), space, cycles=int(rng.integers(PLANNED, 130)), each=look)
    limit = np.array(rig.profile.limits.joint_velocity)
    assert (fastest <= limit * (1 + 1e-6)).all() and (fastest > 0.05).any()


def test_an_answer_during_a_plan_waits_for_it():
    rig = _under_way(Rig(sliced=True), episode="first")
    rig.submit(-VALUES, episode="second")
    told = []

    def look():
        record = rig.loop.applied()
        if record is not None and record.episode_id not in told:
            told.append(record.episode_id)

    rig.run(2 * PLANNED, look)
    assert told == ["first", "second"] and not rig.loop.planning


def test_a_hold_during_a_plan_follows_within_cycles():
    rig = _under_way(Rig(sliced=True))
    rig.step_id += 1
    assert rig.loop.hold(rig.step_id, "policy_lost", "e1")
    rig.run(PLANNED)
    assert rig.loop.state == "hold" and rig.loop.reason == "policy_lost"
    rig.run(60)
    assert not rig.loop.setpoint.moving and rig.loop.applied().outcome == "hold"


def test_a_hard_force_during_a_plan_retreats_and_the_answer_says_so():
    rig = Rig(sliced=True)
    running = rig.act(VALUES)
    _under_way(rig)
    rig.force[:] = [0, 0, 300.0]
    rig.weigh()
    rig.run(2)
    record = rig.loop.applied()
    assert rig.loop.reason == "force_limit" and rig.loop.counters.retreats == 1 and not rig.loop.planning
    assert record is not running and record.step_id == rig.step_id
    assert (record.outcome, record.reason) == ("retreat", "force_limit") == (running.outcome, running.reason)
    assert (record.executed == 0).all()


def test_the_emergency_stop_during_a_plan_stops_at_once(tmp_path):
    rig = _under_way(Rig(sliced=True, estop=EstopLatch(tmp_path / "e.json")))
    commands = rig.arm.commands
    rig.loop.estop.latch("hand in the cell", "test", rig.loop.stop)
    assert rig.arm.stops == 1, "before the next cycle"
    rig.run(PLANNED)
    record = rig.loop.applied()
    assert rig.arm.commands == commands and rig.arm.closed is None
    assert (record.step_id, record.outcome, record.reason) == (rig.step_id, "stop", "estop")


def test_a_sensor_silent_during_a_plan_means_hold():
    rig = Rig(sliced=True)
    rig.act(VALUES)
    rig.fresh_joints = False
    rig.run(198)
    rig.submit(VALUES)
    rig.run(PLANNED)
    record = rig.loop.applied()
    assert rig.loop.reason == "sensor_stale" and not rig.loop.planning
    assert (record.step_id, record.outcome, record.reason) == (rig.step_id, "hold", "sensor_stale") and (record.executed == 0).all()


def test_the_latch_stops_the_arm_before_it_touches_the_disk(tmp_path):
    (tmp_path / "file").write_text("")
    rig = Rig(sliced=True, estop=EstopLatch(tmp_path / "file" / "e.json"))
    rig.act(VALUES)
    with pytest.raises(OSError):
        rig.loop.estop.latch("disk is gone", "test", rig.loop.stop)
    assert rig.arm.stops == 1 and rig.loop.state == "stopped"
