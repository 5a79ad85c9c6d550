"""The wrench is filtered by stamp, whatever order the messages come in."""

import numpy as np
import pytest

from apprentice_core.rotations import quaternion_from_rpy, quaternion_to_matrix
from apprentice_core.wrench import GRAVITY, WrenchConfig
from apprentice_perception.force_pipeline import ForcePipeline

MS = 1_000_000
PAYLOAD = WrenchConfig(payload_mass=0.9, payload_com=(0.0, 0.0, 0.06), cutoff=0)


def weight(q):
    force = quaternion_to_matrix(q).T @ np.array([0, 0, -0.9 * GRAVITY])
    return np.concatenate([force, np.cross([0, 0, 0.06], force)])


def test_a_wrench_waits_for_its_pose_in_either_order():
    q = quaternion_from_rpy(np.pi, 0.3, 0.2)
    results = []
    for pose_first in (True, False):
        pipeline = ForcePipeline(PAYLOAD)
        out = []
        for k in range(1, 6):
            calls = [(pipeline.offer_pose, q), (pipeline.offer_wrench, weight(q) + k)]
            for call, value in calls if pose_first else reversed(calls):
                out += call(k * 10 * MS, value)
        assert [s.stamp for s in out] == [k * 10 * MS for k in range(1, 6)]
        results.append(np.array([s.value for s in out]))
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0][2], 3.0, atol=1e-9)


def test_silent_poses_do_not_silence_the_wrench_for_ever():
    q = quaternion_from_rpy(0, 0, 0)
    pipeline = ForcePipeline(PAYLOAD, patience=0.05)
    pipeline.offer_pose(0, q)
    out = [s for k in range(1, 21) for s in pipeline.offer_wrench(k * 10 * MS, weight(q))]
    assert 14 <= len(out) < 20 and pipeline.late_poses == len(out)


def test_without_payload_nothing_waits():
    pipeline = ForcePipeline(WrenchConfig(cutoff=0))
    assert len(pipeline.offer_wrench(10 * MS, np.arange(6.0))) == 1


def test_the_same_stamp_gives_the_same_sample_and_an_older_one_nothing():
    pipeline = ForcePipeline(WrenchConfig(cutoff=5))
    pipeline.offer_wrench(10 * MS, np.zeros(6))
    first = pipeline.offer_wrench(20 * MS, np.ones(6))
    assert pipeline.offer_wrench(20 * MS, np.ones(6)) == first
    assert pipeline.offer_wrench(15 * MS, np.ones(6)) == []


def test_tare_needs_stillness_and_samples():
    pipeline = ForcePipeline(WrenchConfig(cutoff=0))
    assert not pipeline.tare(0, 0.5, 1.0)[0]
    for k in range(1, 21):
        pipeline.offer_wrench(k * 10 * MS, np.full(6, 2.0) + (k % 2) * 5.0)
    assert "not still" in pipeline.tare(200 * MS, 0.1, 1.0)[1]
    for k in range(21, 41):
        pipeline.offer_wrench(k * 10 * MS, np.full(6, 2.0))
    assert pipeline.tare(400 * MS, 0.1, 1.0)[0]
    np.testing.assert_allclose(pipeline.offer_wrench(410 * MS, np.full(6, 2.0))[0].value, 0.0, atol=1e-12)


def test_nan_is_dropped_and_counted():
    pipeline = ForcePipeline(WrenchConfig())
    assert pipeline.offer_wrench(MS, np.full(6, np.nan)) == [] and pipeline.invalid == 1


@pytest.mark.parametrize(("value", "saturated"), [(10.0, False), (250.0, True)])
def test_saturation_looks_at_the_raw_value(value, saturated):
    pipeline = ForcePipeline(WrenchConfig())
    pipeline.offer_wrench(MS, np.full(6, value))
    assert pipeline.filter.saturated is saturated


def test_mount_and_signs_turn_any_sensor_into_ours():
    flip = np.array([1, -1, -1, 1, -1, -1.0])
    q = quaternion_from_rpy(0.4, 0.1, 0.0)
    pipeline = ForcePipeline(PAYLOAD, mount=np.eye(3), signs=flip)
    pipeline.offer_pose(10 * MS, q)
    np.testing.assert_allclose(pipeline.offer_wrench(10 * MS, weight(q) * flip)[0].value, 0.0, atol=1e-9)
