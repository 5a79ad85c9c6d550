import numpy as np
import pinocchio as pin
import pytest
from arms import ROBOTS, Rig

from apprentice_control.arm_loop import ArmCommand
from apprentice_core.config import Box, Limits
from apprentice_core.spaces import cartesian_displacement, cartesian_velocity_gripper, joint_velocity_gripper

STAGES = ["nan", "cap", "workspace", "rotation", "force_soft", "ik", "joint_limit"]


def action(**axes):
    names = ["vx", "vy", "vz", "wx", "wy", "wz", "gripper"]
    return np.array([axes.get(n, 0.0) for n in names], dtype=np.float32)


def tool(rig):
    return rig.loop.kinematics.forward(rig.loop.setpoint.position)


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_velocity_moves_the_tool_as_told_and_is_recorded_as_it_was(robot):
    rig = Rig(robot)
    start = tool(rig)
    given = action(vx=0.5, vy=-1.0, vz=-0.3, wz=0.4)
    record = rig.act(given)
    end = tool(rig)
    assert record.outcome == "applied" and [s.name for s in record.stages] == STAGES and not any(s.changed for s in record.stages)
    assert np.allclose(end.position - start.position, [0.005, -0.01, -0.003], atol=3e-5)
    assert np.allclose(pin.log3(end.rotation @ start.rotation.T), [0, 0, 0.02], atol=3e-5)
    assert record.executed.dtype == np.float32 and (record.executed == given).all() and (record.mixed == given).all()
    assert record.received > 0 and record.applied >= record.received and record.source == "policy"


def test_the_set_point_moves_evenly_over_the_period():
    rig, positions = Rig(), []
    rig.act(action(vx=1.0), each=lambda: positions.append(rig.loop.setpoint.position.copy()))
    steps = np.diff(np.array(positions), axis=0)
    assert len(positions) == 100 and np.allclose(steps, steps[0], atol=1e-12)


def test_displacement_moves_by_metres_and_holds_the_orientation():
    rig = Rig()
    start = tool(rig)
    for _ in range(5):
        rig.act(np.array([0.5, 1.0, -1.0], dtype=np.float32), cartesian_displacement(0.01))
    end = tool(rig)
    assert np.allclose(end.position - start.position, [0.025, 0.05, -0.05], atol=1e-4)
    assert np.linalg.norm(pin.log3(end.rotation @ start.rotation.T)) < 1e-4
    assert rig.arm.closed is None


def test_joint_velocity_moves_joints():
    rig = Rig()
    start = rig.loop.setpoint.position.copy()
    space = joint_velocity_gripper(rig.profile.arm_joints, 0.6)
    record = rig.act(np.array([0, 0, 0, 0, 0.1, 0, 0.3, 1], dtype=np.float32), space)
    assert np.allclose(rig.loop.setpoint.position - start, [0, 0, 0, 0, 0.006, 0, 0.018], atol=1e-9)
    assert (record.executed == record.mixed).all() and rig.arm.closed == 1.0


def test_gripper_closes_opens_and_is_left_alone_at_zero():
    rig, seen, executed, mixed = Rig(), [], [], []
    for value in (0.0, 0.2, 0.0, -0.7, 0.0):
        record = rig.act(action(gripper=value))
        seen.append(rig.arm.closed), executed.append(record.executed[6]), mixed.append(record.mixed[6])
    assert seen == [None, 1.0, 1.0, 0.0, 0.0]
    assert executed == pytest.approx([0.0, 0.2, 1.0, -0.7, -1.0]), "where a person lets go of the button, what it left the gripper doing"
    assert mixed == pytest.approx([0.0, 0.2, 0.0, -0.7, 0.0])


def test_cap_then_box_then_force_in_that_order():
    """With 5 cm/s as the task's cap and a box 3 mm away, 10 cm/s becomes 5 and then what the box leaves; pressing stops it."""
    limits = Limits(linear_velocity=0.05, workspace=Box(low=(0.4, -0.1, 0.01), high=(0.603, 0.1, 0.16)))
    rig = Rig(limits=limits)
    record = rig.act(action(vx=1.0))
    stages = {s.name: s for s in record.stages}
    assert stages["cap"].before[0] == pytest.approx(0.1) and stages["cap"].after[0] == pytest.approx(0.05)
    assert stages["workspace"].before == stages["cap"].after
    assert stages["workspace"].after[0] == pytest.approx(0.027, abs=2e-4)
    assert stages["rotation"].before == stages["workspace"].after and stages["force_soft"].before == stages["rotation"].after
    assert record.executed[0] == pytest.approx(0.27, abs=2e-3) and record.reason.startswith("cap")
    assert rig.codes() == ["cap", "workspace"]


def test_the_task_can_tighten_but_never_loosen():
    rig = Rig(limits=Limits(linear_velocity=5.0, force_hard=500.0, joint_margin=0.0, sensor_timeout=9.0))
    effective = rig.loop.limits
    assert (effective.linear_velocity, effective.force_hard, effective.joint_margin, effective.sensor_timeout) == (0.1, 50.0, 0.05, 0.2)
    wide = cartesian_velocity_gripper(linear=2.0, angular=9.0)
    start = tool(rig)
    record = rig.act(action(vy=1.0, wz=1.0), wide)
    assert np.allclose((tool(rig).position - start.position)[1], 0.01, atol=3e-5)
    assert record.executed[1] == pytest.approx(0.05, abs=1e-3) and record.executed[5] == pytest.approx(0.5 / 9, abs=1e-3)


def test_rotation_is_kept_within_its_bound_on_each_axis():
    rig = Rig()
    home = rig.loop.chain.home_pose.rotation
    for axis, bound in (("wx", 0.5235988), ("wy", 1.5707963)):
        rig = Rig()
        for _ in range(40):
            rig.act(action(**{axis: 1.0}))
        angle = np.linalg.norm(pin.log3(tool(rig).rotation @ home.T))
        assert angle <= bound + 1e-3
        assert axis != "wx" or angle > bound - 0.01


@pytest.mark.parametrize("bad", [np.full(7, np.nan), [np.inf] * 7, [0.0] * 6, "stop", None, {"a": 1}, [[0.0] * 7], [1e300] * 7, ["a"] * 7])
def test_what_is_no_action_becomes_no_motion(bad):
    rig = Rig()
    rig.act(action())
    start = rig.loop.setpoint.position.copy()
    record = rig.act(bad)
    assert record.outcome == "applied" and (record.executed == 0).all() and np.isfinite(record.mixed).all()
    assert record.stages[0].name == "nan" and record.stages[0].changed and rig.codes() == ["nan"]
    assert np.allclose(rig.loop.setpoint.position, start, atol=1e-3)


def test_pressing_stops_along_the_axis_of_the_contact_only():
    rig = Rig()
    rig.act(action())
    rig.force[:] = [0, 0, 25.0]
    rig.run(100)
    start = tool(rig).position
    record = rig.act(action(vz=-1.0, vx=0.5))
    assert np.allclose(tool(rig).position - start, [0.005, 0, 0], atol=5e-5)
    assert record.executed[2] == pytest.approx(0, abs=1e-6) and "force_soft" in rig.codes()
    record = rig.act(action(vz=0.5))
    assert tool(rig).position[2] - start[2] == pytest.approx(0.005, abs=5e-5) and record.executed[2] == 0.5


def test_beyond_the_hard_force_the_arm_retreats_to_where_it_was_safe_and_the_episode_is_over():
    rig = Rig()
    for _ in range(6):
        rig.act(action(vz=-1.0), episode="first")
    low = tool(rig).position[2]
    rig.submit(action(vz=-1.0), episode="first")
    rig.run(20)
    rig.force[:] = [0, 0, 60.0]
    rig.run(40)
    assert rig.loop.state == "retreat"
    assert rig.loop.applied().outcome == "retreat" and rig.loop.applied().reason == "force_limit"
    rig.force[:] = 0
    rig.run(1500)
    assert rig.loop.state == "hold" and rig.loop.reason == "force_limit"
    assert tool(rig).position[2] > low + 0.005
    record = rig.act(action(vz=-1.0), episode="first")
    assert record.outcome == "hold" and record.reason == "force_limit" and (record.executed == 0).all()
    assert rig.codes().count("force_hard") == 1 and rig.loop.counters.retreats == 1
    assert rig.act(action(vz=0.5), episode="second").outcome == "applied"


def test_an_episode_that_begins_while_the_arm_still_leaves_a_contact_waits_instead_of_ending():
    rig = Rig()
    for _ in range(6):
        rig.act(action(vz=-1.0), episode="first")
    rig.force[:] = [0, 0, 60.0]
    rig.weigh()
    rig.run(2)
    assert rig.act(action(vz=-1.0), episode="first").outcome == "retreat"
    rig.force[:] = 0
    rig.weigh()
    outcomes = [rig.act(action(vz=0.5), episode="second").outcome for _ in range(15)]
    assert outcomes[0] == "hold" and "retreat" not in outcomes and outcomes[-1] == "applied"


def test_the_hard_check_runs_in_the_cycle_not_at_the_answer():
    rig = Rig()
    rig.submit(action(vx=1.0))
    rig.run(10)
    rig.force[:] = [0, 300.0, 0]
    rig.weigh()
    rig.run(2)
    assert rig.loop.reason == "force_limit" and "force_hard" in rig.codes()


@pytest.mark.parametrize("sensor", ["joints", "wrench"])
def test_a_silent_sensor_means_hold_within_its_time_and_a_fresh_one_goes_on(sensor):
    rig = Rig()
    rig.act(action(vx=0.2))
    if sensor == "joints":
        rig.fresh_joints = False
    else:
        rig.fresh_wrench = False
    rig.submit(action(vx=0.2))
    cycles = 0
    while rig.loop.state == "running" and cycles < 1000:
        rig.run(1)
        cycles += 1
    assert cycles <= 202 and rig.loop.reason == "sensor_stale" and "sensor_stale" in rig.codes()
    record = rig.act(action(vx=1.0))
    assert record.outcome == "hold" and record.reason == "sensor_stale" and (record.executed == 0).all()
    rig.fresh_joints = rig.fresh_wrench = True
    rig.arm.wrench_stamp = None
    rig.run(5)
    assert rig.act(action(vx=0.2)).outcome == "applied"


def test_joint_states_that_are_not_numbers_are_silence():
    rig = Rig()
    rig.act(action(vx=0.2))
    rig.follow = False
    good = rig.arm.position.copy()
    rig.arm.position = np.full(7, np.nan)
    rig.run(250)
    assert rig.loop.state == "hold" and rig.loop.reason == "sensor_stale"
    assert np.isfinite(rig.arm.torque).all()
    rig.arm.position = good
    rig.run(5)
    assert rig.act(action()).outcome == "applied"


def test_a_stuck_wrench_sensor_of_a_real_arm_is_silence():
    rig = Rig(capabilities=frozenset())
    rig.weigh = lambda: None
    rig.submit(action())
    rig.run(800)
    assert "sensor_stale" in rig.codes()


def test_no_command_for_its_time_means_hold_and_the_next_one_goes_on():
    rig = Rig()
    rig.submit(action(vx=1.0))
    cycles = 0
    while rig.loop.state != "running" or cycles == 0:
        rig.run(1)
        cycles += 1
    while rig.loop.state == "running" and cycles < 1000:
        rig.run(1)
        cycles += 1
    assert 300 <= cycles <= 303 and rig.loop.reason == "command_timeout" and rig.codes() == ["command_timeout"]
    assert rig.act(action(vx=1.0)).outcome == "applied" and rig.loop.state == "running"


def test_hold_brakes_by_a_ramp_not_by_a_step():
    rig, speeds = Rig(), []
    rig.submit(action(vx=1.0))
    rig.run(30)
    goal = rig.loop.setpoint.goal.copy()
    rig.step_id += 1
    assert rig.loop.hold(rig.step_id, "policy_lost", "e1")
    last = rig.loop.setpoint.position.copy()

    def note():
        speeds.append(np.linalg.norm(rig.loop.setpoint.position - last) / 0.001)
        last[:] = rig.loop.setpoint.position

    rig.run(70, note)
    full = speeds[0]
    assert full > 0.05 and speeds[-1] == 0.0
    assert (np.diff(speeds) <= 1e-9).all() and np.max(-np.diff(speeds)) < 0.05 * full
    assert np.linalg.norm(rig.loop.setpoint.position - rig.profile.home) < np.linalg.norm(goal - rig.profile.home)
    record = rig.loop.applied()
    assert record.outcome == "hold" and record.reason == "policy_lost" and (record.executed == 0).all() and record.executed.shape == (7,)


def test_holding_outside_of_steps_records_nothing():
    rig = Rig()
    record = rig.act(action(vx=0.1))
    rig.loop.drain_events()
    assert rig.loop.hold(0, "idle") and rig.loop.hold(0, "idle")
    rig.run(400)
    assert rig.loop.applied() is record and rig.loop.state == "hold" and rig.codes() == []


def test_an_answer_takes_effect_after_the_action_delay():
    rig, positions = Rig(delay=0.03), []
    rig.act(action(vx=1.0))
    start = rig.loop.setpoint.position.copy()
    rig.submit(action(vy=1.0))
    rig.run(100, lambda: positions.append(tool(rig).position))
    first, second = positions[25] - positions[0], positions[95] - positions[35]
    assert first[0] > 0.0015 and abs(first[1]) < 1e-4
    assert second[1] > 0.005 and abs(second[0]) < 1e-4
    assert not np.allclose(rig.loop.setpoint.position, start)


def test_an_answer_that_is_not_newer_is_refused():
    rig = Rig()
    rig.act(action())
    stale = ArmCommand(rig.step_id, "e1", "policy", rig.space, action(vx=1.0))
    assert not rig.loop.submit(stale) and rig.loop.counters.refused == 1


def test_a_foreign_action_space_is_held():
    rig = Rig("widowx")
    record = rig.act(np.zeros(8, np.float32), joint_velocity_gripper([f"right_j{i}" for i in range(7)]))
    assert record.outcome == "hold" and "not one of this arm's" in record.reason


def test_a_blocked_arm_does_not_run_away_from_its_reference():
    rig = Rig()
    rig.act(action())
    rig.follow = False
    for _ in range(30):
        rig.act(action(vx=1.0))
    ahead = tool(rig).position - rig.loop.kinematics.forward(rig.arm.position).position
    assert np.linalg.norm(ahead) < 0.015 + 0.0101
    limit = np.array(rig.profile.gains.tau_max) + 1e-9
    gravity = rig.loop.kinematics.gravity(rig.arm.position)
    assert (np.abs(rig.arm.torque - gravity) <= limit).all()


def test_a_reset_may_leave_a_place_outside_the_box_inwards_only():
    rig = Rig()
    kinematics = rig.loop.kinematics
    outside = rig.loop.chain.limiter.ik
    home = rig.loop.chain.home_pose
    q = np.array(rig.profile.home)
    for x in np.linspace(0.6, 0.82, 30):
        q = outside.solve(q, np.array([x, 0.0, 0.15]), home.rotation, 0.1).q
    rig.arm.position = q
    rig.loop.engage()
    rig.run(5)
    assert kinematics.forward(q).position[0] > 0.815
    space = joint_velocity_gripper(rig.profile.arm_joints, 0.6)
    distances = []
    for _ in range(120):
        toward = np.clip((np.array(rig.profile.home) - rig.loop.setpoint.goal) / 0.1 / 0.6, -1, 1)
        rig.act(np.append(toward, 0.0).astype(np.float32), space)
        distances.append(tool(rig).position[0])
    # As a joint-space move bulges, a third of a millimetre is within the stage's own inset.
    assert (np.diff(distances) <= 3e-4).all()
    assert np.allclose(tool(rig).position, home.position, atol=2e-3)
    for _ in range(5):
        rig.act(action(vx=1.0))
    rig.arm.position = q
    rig.loop.engage()
    rig.run(2)
    before = tool(rig).position[0]
    rig.act(action(vx=1.0))
    assert tool(rig).position[0] <= before + 1e-5


def test_engage_starts_from_the_measured_joints():
    rig = Rig()
    rig.act(action(vx=1.0))
    rig.arm.position = np.array(rig.profile.home) + 0.02
    rig.loop.engage()
    assert np.allclose(rig.loop.setpoint.position, rig.arm.position) and rig.loop.state == "hold"
    assert (rig.loop.impedance.integral == 0).all()


def test_tare_takes_the_present_force_as_zero_and_refuses_a_moving_arm():
    rig = Rig()
    rig.force[:] = [1.0, -2.0, 3.0]
    rig.run(100)
    rotation = rig.loop.kinematics.sensor_rotation(rig.arm.position)
    assert np.allclose(rotation @ rig.loop.wrench[:3], rig.force, atol=0.05)
    assert rig.loop.tare()
    rig.run(100)
    assert np.abs(rig.loop.wrench).max() < 0.1
    rig.arm.velocity[:] = 0.3
    rig.run(60)
    assert not rig.loop.tare()


def test_tool_state_is_pose_and_twist_in_the_base_frame():
    rig = Rig()
    rig.arm.velocity[0] = 0.5
    pose, twist = rig.loop.kinematics.tool(rig.arm.position, rig.arm.velocity)
    assert np.allclose(pose, [0.6, 0, 0.15, 0, 1, 0, 0], atol=1e-4) or np.allclose(pose, [0.6, 0, 0.15, 0, -1, 0, 0], atol=1e-4)
    assert np.allclose(twist, [0, 0.3, 0, 0, 0, 0.5], atol=1e-4)
