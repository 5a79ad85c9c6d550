"""The hand-held VR controller: what a tracked hand and its buttons become, behaviour by behaviour."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apprentice_core.errors import ConfigError
from apprentice_core.rotations import matrix_from_rotation_vector, matrix_to_quaternion
from apprentice_core.spaces import cartesian_displacement, cartesian_velocity_gripper, joint_velocity_gripper, tool_velocity
from apprentice_runtime.teleop_devices.device import TakeOver
from apprentice_runtime.teleop_devices.hand import HandMotion, hand_axes
from apprentice_runtime.teleop_devices.vr_controller import VrController, VrSettings

SPACE = cartesian_velocity_gripper()
PERIOD = 0.1


class Hand:
    """A person with a controller, as its bridge tells of it: 100 poses and buttons a second, the teleoperation node's poll after each."""

    def __init__(self, **settings: object):
        self.device = VrController(VrSettings(**settings))  # type: ignore[arg-type]
        self.motion = HandMotion()
        self.take_over = TakeOver()
        self.now, self.position = 100.0, np.array([0.3, 1.2, -0.4])
        self.facing = matrix_from_rotation_vector(np.array([0.5, -1.0, 0.3]))
        self.clutch, self.trigger, self.release = False, 0.0, False
        self.poses = self.joys = True
        self.run(0.05)

    def pose(self, stamp: float | None = None, age: float = 0.004, **changed: np.ndarray) -> None:
        given = {"position": self.position, "orientation": matrix_to_quaternion(self.facing), **changed}
        self.device.pose(round((self.now if stamp is None else stamp) * 1e9), age, now=self.now, **given)

    def joy(self) -> None:
        self.device.buttons([self.trigger, 0.0, 0.0], [int(self.trigger > 0.9), 0, 0, int(self.release), int(self.clutch)], self.now)

    def run(self, seconds: float, line: tuple[float, ...] = (0, 0, 0), turn: tuple[float, ...] = (0, 0, 0)) -> list:
        """Moves the hand by `line` (m) and `turn` (rotation vector, rad) in the tracking frame at an even speed."""
        states = []
        steps = max(1, round(seconds * 100))
        for _ in range(steps):
            self.now += 0.01
            self.position = self.position + np.array(line) / steps
            self.facing = matrix_from_rotation_vector(np.array(turn, dtype=float) / steps) @ self.facing
            if self.joys:
                self.joy()
            if self.poses:
                self.pose()
            state = self.device.poll(self.now)
            self.motion.add(state)
            self.take_over.update(state, self.now)
            states.append(state)
        return states

    def act(self) -> np.ndarray:
        return self.motion.take(SPACE, PERIOD)

    def press(self) -> None:
        self.clutch = True
        self.run(0.02)

    def let_go(self) -> None:
        self.clutch = False
        self.run(0.02)


def test_the_hand_moves_the_tool_by_the_same_way_while_the_clutch_is_held():
    hand = Hand()
    hand.press()
    hand.run(PERIOD, line=(0.004, -0.002, 0.001), turn=(0.0, 0.0, 0.02))
    si = SPACE.to_si(hand.act()) * PERIOD
    np.testing.assert_allclose(si[:6], [0.004, -0.002, 0.001, 0, 0, 0.02], atol=1e-8)
    assert not hand.act().any(), "a way is gone once"


def test_without_the_clutch_nothing_moves():
    hand = Hand()
    states = hand.run(0.3, line=(0.2, 0, 0), turn=(0.5, 0, 0))
    assert not any(s.displacement.any() or s.clutch or s.fault for s in states)
    assert not hand.act().any() and not hand.take_over.engaged


def test_reclutching_starts_from_where_the_hand_is():
    hand = Hand()
    hand.press()
    hand.run(PERIOD, line=(0.005, 0, 0))
    hand.act()
    hand.let_go()
    hand.run(0.2, line=(-0.4, 0.3, 0), turn=(0, 1.0, 0))
    hand.press()
    assert not hand.act().any(), "the way back with an open clutch is none of the tool's"
    hand.run(PERIOD, line=(0.005, 0, 0))
    np.testing.assert_allclose(SPACE.to_si(hand.act())[:6], [0.05, 0, 0, 0, 0, 0], atol=1e-8)


def test_letting_go_forgets_what_was_not_yet_gone():
    hand = Hand()
    hand.press()
    hand.run(0.05, line=(0.004, 0, 0))
    hand.let_go()
    assert not hand.act().any()


@pytest.mark.parametrize(("settings", "line", "expected"), [
    ({"yaw": math.pi / 2}, (0.004, 0, 0), (0, 0.004, 0)),
    ({"yaw": -math.pi / 2}, (0, 0.004, 0), (0.004, 0, 0)),
    ({"axes": "openvr"}, (0, 0, -0.004), (0.004, 0, 0)),
    ({"axes": "openvr"}, (-0.004, 0, 0), (0, 0.004, 0)),
    ({"axes": "openvr"}, (0, 0.004, 0), (0, 0, 0.004)),
    ({"axes": "openvr", "yaw": math.pi}, (0, 0, -0.004), (-0.004, 0, 0)),
])
def test_the_operators_frame_is_turned_into_the_robots(settings, line, expected):
    hand = Hand(**settings)
    hand.press()
    hand.run(PERIOD, line=line)
    np.testing.assert_allclose(SPACE.to_si(hand.act())[:3] * PERIOD, expected, atol=1e-8)
    hand.run(PERIOD, turn=line)
    np.testing.assert_allclose(SPACE.to_si(hand.act())[3:6] * PERIOD, expected, atol=1e-8)


def test_scales_are_apart_for_line_and_turn():
    hand = Hand(scale=0.5, turn_scale=0.0)
    hand.press()
    hand.run(PERIOD, line=(0.008, 0, 0), turn=(0, 0.03, 0))
    np.testing.assert_allclose(SPACE.to_si(hand.act())[:6] * PERIOD, [0.004, 0, 0, 0, 0, 0], atol=1e-8)


def test_a_fast_hand_is_cut_to_the_bounds_keeps_its_direction_and_leaves_nothing_over():
    hand = Hand()
    hand.press()
    hand.run(PERIOD, line=(0.06, 0.03, 0), turn=(0, 0, 0.4))
    np.testing.assert_allclose(hand.act()[:6], [1, 0.5, 0, 0, 0, 1], atol=1e-6)
    hand.run(PERIOD)
    assert not hand.act().any()


def test_motion_within_the_dead_band_waits_and_is_not_lost():
    hand = Hand()
    hand.press()
    gone = np.zeros(3)
    acts = []
    for _ in range(20):
        hand.run(PERIOD, line=(0.0002, 0, 0))
        acts.append(hand.act())
        gone += SPACE.to_si(acts[-1])[:3] * PERIOD
    assert not acts[0].any() and not acts[1].any(), "0.4 mm are less than 5 % of 0.1 m/s over 0.1 s"
    np.testing.assert_allclose(gone, [0.004, 0, 0], atol=0.0005)
    tremor = [hand.run(0.05, line=(s * 0.0002, 0, 0)) and hand.act() for s in (1, -1) * 20]
    assert sum(a.any() for a in tremor) <= 1, "a trembling hand does not add up"


def test_a_displacement_space_gets_the_way_itself_and_other_spaces_are_refused():
    hand = Hand()
    hand.press()
    hand.run(PERIOD, line=(0.005, 0, -0.01), turn=(0.3, 0, 0))
    np.testing.assert_allclose(hand.motion.take(cartesian_displacement(), PERIOD), [0.5, 0, -1], atol=1e-6)
    for space in (joint_velocity_gripper(["j0", "j1"]), tool_velocity()):
        with pytest.raises(ConfigError, match=space.name):
            hand_axes(space)


def test_the_clutch_held_takes_over_after_50_ms_and_the_release_button_hands_back():
    hand = Hand()
    hand.clutch = True
    hand.run(0.04)
    assert not hand.take_over.engaged, "a touch is no take-over"
    hand.run(0.03)
    assert hand.take_over.engaged, "a resting hand with the clutch held stops the policy"
    hand.let_go()
    hand.run(2.0)
    assert hand.take_over.engaged, "an open clutch is not handing back"
    hand.press()
    hand.release = True
    assert sum(s.release for s in hand.run(0.1)) == 1
    assert not hand.take_over.engaged
    hand.release = False
    hand.run(0.5, line=(0.01, 0, 0))
    assert not hand.take_over.engaged, "a clutch still held after handing back takes nothing over"
    hand.let_go()
    hand.press()
    hand.run(0.1)
    assert hand.take_over.engaged


def test_each_pull_of_the_trigger_closes_or_opens():
    hand = Hand()

    def pull(depth: float) -> list[float]:
        hand.trigger = depth
        wishes = [s.gripper for s in hand.run(0.1)]
        hand.trigger = 0.0
        assert hand.run(0.05)[-1].gripper == 0.0
        return wishes

    assert pull(1.0) == [1.0] * 10 and hand.take_over.engaged
    assert pull(0.5) == [0.0] * 10, "half a pull is none"
    assert pull(0.7) == [-1.0] * 10
    hand.trigger = 0.7
    hand.run(0.02)
    hand.trigger = 0.5
    assert hand.run(0.02)[-1].gripper == 1.0, "a trigger that trembles about its point is pulled once"
    hand.trigger = 0.0
    hand.run(0.02)
    hand.trigger = 1.0
    hand.joy()
    hand.trigger = 0.0
    hand.joy()
    assert hand.device.poll(hand.now).gripper == -1.0, "a pull between two polls is not lost"


def test_a_clutch_that_is_down_at_the_start_does_nothing():
    hand = Hand()
    hand.device, hand.clutch = VrController(), True
    assert not any(s.clutch or s.displacement.any() for s in hand.run(0.2, line=(0.05, 0, 0)))
    hand.let_go()
    hand.press()
    assert hand.run(0.05, line=(0.002, 0, 0))[-1].clutch


def _nan(hand: Hand) -> None:
    hand.pose(position=np.array([0.0, np.nan, 0.0]))


def _no_rotation(hand: Hand) -> None:
    hand.pose(orientation=np.zeros(4))


def _older(hand: Hand) -> None:
    hand.pose(stamp=hand.now - 0.05)


def _twice(hand: Hand) -> None:
    hand.pose()


def _old(hand: Hand) -> None:
    hand.now += 0.01
    hand.pose(age=0.3)


def _ahead(hand: Hand) -> None:
    hand.now += 0.01
    hand.pose(age=-3600.0)


def _jump(hand: Hand) -> None:
    hand.now += 0.01
    hand.pose(position=hand.position + np.array([0.3, 0, 0]))


def _flip(hand: Hand) -> None:
    hand.now += 0.01
    hand.pose(orientation=np.array([0.0, 0, 1, 0]))


def _silence(hand: Hand) -> None:
    hand.poses = False
    assert not any(s.fault for s in hand.run(0.09))
    hand.run(0.05)
    hand.poses = True


def _no_buttons(hand: Hand) -> None:
    hand.joys = False
    assert not any(s.fault for s in hand.run(0.45))
    hand.run(0.1)
    hand.joys = True


def _few_buttons(hand: Hand) -> None:
    hand.device.buttons([0.0], [0, 1], hand.now)


def _trigger_nan(hand: Hand) -> None:
    hand.device.buttons([math.nan, 0, 0], [0, 0, 0, 0, 1], hand.now)


@pytest.mark.parametrize(("broken", "says"), [
    (_nan, "NaN"), (_no_rotation, "length 1"), (_older, "not newer"), (_twice, "not newer"), (_old, "stale"), (_ahead, "stale"),
    (_jump, "jumps"), (_flip, "jumps"), (_silence, "no pose for 0.1 s"), (_no_buttons, "no buttons for 0.5 s"), (_few_buttons, "too few"),
    (_trigger_nan, "not a number"),
])
def test_a_fault_stands_still_is_told_and_lasts_until_the_clutch_is_let_go(broken, says):
    hand = Hand()
    hand.press()
    assert not any(s.fault for s in hand.run(0.1, line=(0.02, 0, 0)))
    broken(hand)
    states = hand.run(0.3, line=(0.05, 0.02, 0), turn=(0.1, 0, 0))
    assert all(says in s.fault for s in states) and not any(s.displacement.any() or s.gripper for s in states)
    assert not hand.act().any(), "not even what was moved before"
    assert hand.take_over.engaged, "the person keeps the controls: a policy does not go on by itself"
    hand.let_go()
    hand.press()
    states = hand.run(PERIOD, line=(0.005, 0, 0))
    assert not any(s.fault for s in states)
    np.testing.assert_allclose(SPACE.to_si(hand.act())[:3], [0.05, 0, 0], atol=1e-8)


def test_broken_poses_are_nobodys_fault_while_the_clutch_is_open():
    hand = Hand()
    for broken in (_nan, _jump, _older, _silence):
        broken(hand)
        assert not hand.device.poll(hand.now).fault
    hand.joys = False
    hand.run(0.6)
    assert "no buttons" in hand.device.poll(hand.now).fault, "the release button would not be heard"
    hand.joys = True
    assert not hand.run(0.02)[-1].fault
