import numpy as np
import pytest

from apprentice_control.impedance import JointImpedance
from apprentice_core.config import ImpedanceGains

TAU_MAX = (8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0)
EFFORT = np.array([80.0, 80, 40, 40, 9, 9, 9])
ZERO = np.zeros(7)


def law(**gains):
    given = {"kp": 100.0, "kd": 2.0, "ki": 0.0, "tau_max": TAU_MAX, "ramp": 0.0, **gains}
    return JointImpedance(ImpedanceGains(**given), 0.001, EFFORT)


def test_statics_are_stiffness_times_error_plus_gravity():
    impedance, error = law(), np.array([0.01, -0.02, 0.005, 0, 0.01, -0.01, 0.001])
    gravity = np.array([0, -25.0, -3, -12, 3, 0.1, 0])
    impedance.set_dynamics(gravity, None)
    assert np.allclose(impedance.update(ZERO, ZERO, error, ZERO), 100 * error + gravity)


def test_damping_acts_on_the_velocity_or_where_asked_on_its_error():
    velocity, wanted = np.full(7, 0.1), np.full(7, 0.3)
    assert np.allclose(law().update(ZERO, velocity, ZERO, wanted), -2 * velocity)
    assert np.allclose(law(velocity_feedforward=True).update(ZERO, velocity, ZERO, wanted), 2 * (wanted - velocity))


def test_torque_beyond_gravity_saturates_and_never_exceeds_the_actuator():
    impedance = law()
    impedance.set_dynamics(np.array([0, -78.0, 0, 0, 0, 8.5, 0]), None)
    high = impedance.update(ZERO, ZERO, np.full(7, 1.0), ZERO).copy()
    low = impedance.update(ZERO, ZERO, np.full(7, -1.0), ZERO).copy()
    assert high[0] == 8.0 and low[0] == -8.0
    assert high[5] == 9.0 and low[1] == -80.0
    assert (np.abs(high) <= EFFORT).all() and (np.abs(low) <= EFFORT).all()


def test_damping_follows_the_mass_matrix_where_kd_is_none():
    impedance, mass = law(kd=None, zeta=0.7), np.linspace(0.01, 2, 7)
    impedance.set_dynamics(ZERO, mass)
    assert np.allclose(impedance.kd, 2 * 0.7 * np.sqrt(100 * mass))


def test_stiffness_ramps_up_on_engage():
    impedance = law(ramp=0.1)
    torques = [impedance.update(ZERO, ZERO, np.full(7, 0.01), ZERO)[0] for _ in range(150)]
    assert torques[0] == pytest.approx(0.01) and torques[49] == pytest.approx(0.5) and torques[149] == pytest.approx(1.0)
    impedance.engage()
    assert impedance.update(ZERO, ZERO, np.full(7, 0.01), ZERO)[0] == pytest.approx(0.01)


def test_integral_removes_a_constant_error_at_the_rate_of_ki():
    impedance = law(ki=20.0)
    for _ in range(100):
        impedance.update(ZERO, ZERO, np.full(7, 0.01), ZERO)
    assert np.allclose(impedance.integral, 20 * 0.01 * 0.1, rtol=1e-9)


def test_back_calculation_unwinds_the_integral_in_saturation():
    """At steady saturation d(tau_I)/dt = Ki e + (sat - raw) / T_t = 0; it leaves saturation without an overshoot of the integral."""
    impedance, error = law(ki=20.0), np.full(7, 0.5)
    for _ in range(2000):
        impedance.update(ZERO, ZERO, error, ZERO)
    assert (np.abs(impedance.integral) <= 0.2 * np.array(TAU_MAX) + 1e-12).all()
    assert (impedance.integral <= 0).all()
    unlimited = 20.0 * 0.5 * 2.0
    assert (impedance.integral < unlimited).all()


def test_integral_is_bounded_below_saturation_too():
    impedance = law(ki=2000.0, kp=1.0)
    for _ in range(3000):
        impedance.update(ZERO, ZERO, np.full(7, 0.01), ZERO)
    assert np.allclose(impedance.integral, 0.2 * np.array(TAU_MAX))
    impedance.clear_integral()
    assert (impedance.integral == 0).all()


def test_without_ki_the_integral_stays_at_zero_even_in_saturation():
    impedance = law(ki=0.0)
    for _ in range(500):
        torque = impedance.update(ZERO, ZERO, np.full(7, 1.0), ZERO)
    assert (impedance.integral == 0).all() and np.allclose(torque, TAU_MAX)


def test_gravity_is_left_to_drivers_that_add_it_themselves():
    impedance = law(add_gravity=False)
    impedance.set_dynamics(np.full(7, 5.0), None)
    assert (impedance.update(ZERO, ZERO, ZERO, ZERO) == 0).all()


def blocked_then_released(ki: float, wanted: float) -> tuple[float, float]:
    """(largest |integral|, overshoot) of one joint of 1 kg m^2 that is held for 10 s and then let go."""
    law_ = law(ki=ki, kd=20.0)
    position, velocity, largest = 0.0, 0.0, 0.0
    goal, path = np.full(7, wanted), []
    for cycle in range(14_000):
        torque = law_.update(np.full(7, position), np.full(7, velocity), goal, ZERO)[0]
        largest = max(largest, abs(float(law_.integral[0])))
        if cycle >= 10_000:
            velocity += 0.001 * torque
            position += 0.001 * velocity
            path.append(position)
    return largest, max(path) - wanted


def test_ten_seconds_of_blocked_motion_wind_nothing_up():
    """B5: the integral stays bounded, and the joint overshoots no more than without one."""
    largest, overshoot = blocked_then_released(20.0, 0.12)
    without, plain = blocked_then_released(0.0, 0.12)
    assert largest <= 0.2 * TAU_MAX[0] + 1e-12 and without == 0.0
    assert np.isfinite(plain) and overshoot <= plain + 1e-6
