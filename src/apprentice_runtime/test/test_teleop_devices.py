"""Keyboard through a real pseudo-terminal, gamepad and 6-DoF mouse through the kernel's byte layout."""

import os
import pty
import sys

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_core.spaces import cartesian_velocity_gripper
from apprentice_runtime.teleop_devices import open_device
from apprentice_runtime.teleop_devices.device import DeviceState, TakeOver, shape
from apprentice_runtime.teleop_devices.evdev_device import EV_ABS, EV_KEY, EV_REL, EV_SYN, EVENT, GAMEPAD, SPACEMOUSE, EvdevDevice
from apprentice_runtime.teleop_devices.keyboard import KEY_HELD, open_keyboard
from apprentice_runtime.teleop_node import to_action


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    keyboard = open_keyboard(os.ttyname(slave))
    yield master, keyboard
    keyboard.close()
    os.close(slave)
    os.close(master)


def test_shape_has_a_dead_band_and_is_cubic():
    np.testing.assert_array_equal(shape(np.array([0.0, 0.05, -0.05])), 0.0)
    np.testing.assert_allclose(shape(np.array([1.0, -1.0, 2.0])), [1, -1, 1])
    np.testing.assert_allclose(shape(np.array([0.525])), 0.125)
    x = np.linspace(-1, 1, 201)
    assert (np.diff(shape(x)) >= 0).all() and np.allclose(shape(-x), -shape(x))


def test_input_must_be_held_to_take_over_and_release_hands_back():
    take = TakeOver()
    moving, still = DeviceState(np.array([0.5, 0, 0, 0, 0, 0])), DeviceState()
    assert not take.update(moving, 0.0)
    assert not take.update(moving, 0.04)
    assert not take.update(still, 0.045)
    assert not take.update(moving, 0.05)
    assert take.update(moving, 0.11)
    assert take.update(still, 5.0), "letting go of the stick is not handing back"
    assert not take.update(DeviceState(release=True), 5.1)
    take.update(moving, 6.0)
    assert take.update(moving, 6.1)
    assert not take.update(DeviceState(lost=True), 6.2)


def test_noise_below_the_dead_band_never_takes_over():
    take = TakeOver()
    assert not any(take.update(DeviceState(np.full(6, 0.04)), 0.01 * k) for k in range(100))


def test_keys_move_and_run_out(terminal):
    master, keyboard = terminal
    os.write(master, b"wa")
    state = keyboard.poll(1.0)
    assert state.twist[0] > 0 and state.twist[1] > 0
    assert keyboard.poll(1.0 + KEY_HELD / 2).twist[0] > 0
    assert not keyboard.poll(1.0 + 2 * KEY_HELD).twist.any()


def test_arrows_even_when_cut_in_two(terminal):
    master, keyboard = terminal
    os.write(master, b"\x1b[")
    assert not keyboard.poll(1.0).twist.any()
    os.write(master, b"B")
    assert keyboard.poll(1.1).twist[0] < 0


def test_gripper_release_and_speed(terminal):
    master, keyboard = terminal
    os.write(master, b" ")
    assert keyboard.poll(1.0).gripper == 1.0
    assert keyboard.poll(2.0).gripper == 0.0
    os.write(master, b" ")
    assert keyboard.poll(3.0).gripper == -1.0
    os.write(master, b"-----w")
    slow = keyboard.poll(4.0).twist[0]
    os.write(master, b"h")
    state = keyboard.poll(4.1)
    assert 0 < slow < 0.5 and state.release and not state.twist.any()


def test_a_hung_up_terminal_is_a_lost_device():
    master, slave = pty.openpty()
    keyboard = open_keyboard(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    assert keyboard.poll(1.0).lost
    keyboard.close()


def test_not_a_terminal(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ApprenticeError, match="not a terminal"):
        open_device("keyboard", str(tmp_path / "file"))


STICKS = dict.fromkeys(range(6), (0, 255)) | {16: (-1, 1), 17: (-1, 1)}


def _device(mapping, ranges=STICKS):
    read, write = os.pipe()
    return EvdevDevice(read, "test device", mapping, ranges), write


def _send(write, *events):
    os.write(write, b"".join(EVENT.pack(1, 2, *e) for e in (*events, (EV_SYN, 0, 0))))


def test_the_layout_is_the_kernels():
    assert EVENT.size == 24 or sys.maxsize < 2**32


def test_gamepad_axes_triggers_and_buttons():
    device, write = _device(GAMEPAD)
    _send(write, (EV_ABS, 1, 0), (EV_ABS, 0, 255), (EV_ABS, 5, 255), (EV_ABS, 2, 0), (EV_KEY, 0x136, 1))
    twist = device.poll(0.0).twist
    np.testing.assert_allclose(twist, [1, -1, 1, 1, 0, 0])
    _send(write, (EV_KEY, 0x136, 0), (EV_KEY, 0x130, 1))
    state = device.poll(0.1)
    assert state.gripper == 1.0 and state.twist[3] == 0
    _send(write, (EV_KEY, 0x130, 0))
    assert device.poll(0.2).gripper == 0.0
    _send(write, (EV_KEY, 0x131, 1))
    assert device.poll(0.3).release and not device.poll(0.4).release
    os.close(write)
    assert device.poll(0.5).lost
    device.close()


def test_events_cut_in_the_middle_are_joined():
    device, write = _device(GAMEPAD)
    packet = EVENT.pack(1, 2, EV_ABS, 1, 0)
    os.write(write, packet[:11])
    assert device.poll(0.0).twist[0] == 0
    os.write(write, packet[11:])
    assert device.poll(0.1).twist[0] == 1.0
    os.close(write)
    device.close()


def test_lost_events_mean_standing_still():
    device, write = _device(GAMEPAD)
    _send(write, (EV_ABS, 1, 0))
    assert device.poll(0.0).twist[0] == 1.0
    _send(write, (EV_SYN, 3, 0))
    assert not device.poll(0.1).twist.any()
    os.close(write)
    device.close()


def test_spacemouse_as_relative_deflection_runs_out():
    device, write = _device(SPACEMOUSE, {})
    _send(write, (EV_REL, 1, -350), (EV_REL, 5, 175))
    np.testing.assert_allclose(device.poll(0.0).twist, [1, 0, 0, 0, 0, -0.5])
    assert device.poll(0.05).twist[0] == 1.0
    assert not device.poll(0.3).twist.any()
    os.close(write)
    device.close()


def test_six_axes_of_a_spacemouse_are_six_velocities_and_its_button_is_the_gripper():
    """The cap's right, towards the user, down; the base frame's forward, left, up (and turns about these)."""
    space = cartesian_velocity_gripper()
    seen = []
    for code in range(6):
        device, write = _device(SPACEMOUSE, dict.fromkeys(range(6), (-350, 350)))
        _send(write, (EV_ABS, code, 350), (EV_KEY, 0x100, 1))
        action = to_action(device.poll(0.0), space, 0.05)
        assert action[6] == 1.0 and np.count_nonzero(action[:6]) == 1
        seen.append((int(np.flatnonzero(action[:6])[0]), float(action[:6].sum())))
        _send(write, (EV_KEY, 0x100, 0), (EV_KEY, 0x100, 1))
        assert to_action(device.poll(0.1), space, 0.05)[6] == -1.0, "the second press opens"
        os.close(write)
        device.close()
    assert seen == [(1, -1.0), (0, -1.0), (2, -1.0), (4, -1.0), (3, -1.0), (5, -1.0)]


def test_an_absent_device_is_said_clearly():
    with pytest.raises(ApprenticeError, match="cannot be opened"):
        open_device("gamepad", "/dev/input/event999")
    with pytest.raises(ApprenticeError, match="known: keyboard"):
        open_device("theremin")
