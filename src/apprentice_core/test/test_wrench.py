import numpy as np
import pytest

from apprentice_core.rotations import quaternion_from_rpy, quaternion_to_matrix
from apprentice_core.wrench import GRAVITY, WrenchConfig, WrenchFilter

PAYLOAD = WrenchConfig(payload_mass=0.9, payload_com=(0.01, -0.02, 0.06), cutoff=0)


def weight_wrench(rotation, config):
    force = rotation.T @ np.array([0, 0, -config.payload_mass * GRAVITY])
    return np.concatenate([force, np.cross(config.payload_com, force)])


@pytest.mark.parametrize("rpy", [(0, 0, 0), (np.pi, 0, 0), (0.3, -1.1, 2.0)])
def test_the_payload_weighs_nothing_in_any_orientation(rpy):
    rotation = quaternion_to_matrix(quaternion_from_rpy(*rpy))
    filtered = WrenchFilter(PAYLOAD).update(weight_wrench(rotation, PAYLOAD), rotation, 0.001)
    assert np.allclose(filtered, 0, atol=1e-12)


def test_tare_survives_a_turn_of_the_wrist():
    bias = np.array([1.0, -2, 3, 0.1, 0.2, -0.3])
    wrench = WrenchFilter(PAYLOAD)
    first, second = np.eye(3), quaternion_to_matrix(quaternion_from_rpy(2.0, 0.4, 0.0))
    wrench.tare(np.stack([weight_wrench(first, PAYLOAD) + bias] * 5), first)
    assert np.allclose(wrench.update(weight_wrench(second, PAYLOAD) + bias, second, 0.001), 0, atol=1e-12)


def test_low_pass_has_its_time_constant():
    wrench = WrenchFilter(WrenchConfig(cutoff=10))
    wrench.update(np.zeros(6), np.eye(3), 0.001)
    steps = round(1 / (2 * np.pi * 10) / 0.001)
    for i in range(steps):
        value = wrench.update(np.full(6, 10.0) + 1e-9 * i, np.eye(3), 0.001)
    assert value[0] == pytest.approx(10 * (1 - np.exp(-1)), rel=0.05)


def test_stuck_and_saturated_sensors_are_seen():
    wrench = WrenchFilter(WrenchConfig(stuck_samples=3, saturation=100))
    for expected in (False, False, False, True):
        wrench.update(np.array([1.0, 0, 0, 0, 0, 0]), np.eye(3), 0.001)
        assert wrench.stuck is expected
    wrench.update(np.array([0, -100.0, 0, 0, 0, 0]), np.eye(3), 0.001)
    assert wrench.saturated and not wrench.stuck


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        WrenchFilter(WrenchConfig()).update(np.full(6, np.nan), np.eye(3), 0.001)
