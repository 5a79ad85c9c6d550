from __future__ import annotations

import numpy as np
import pytest

from apprentice_learning.rewards.self_reward_checks import ConfusionMatrix, ExploitationAlarm, first_contact_trial


def test_confusion_counts_every_frame_once():
    matrix = ConfusionMatrix()
    assert "recall" not in matrix.as_dict()
    matrix.add(np.array([1, 1, 0, 0, 1]), np.array([1, 0, 1, 0, 0]))
    matrix.add(np.array([True]), np.array([True]))
    assert (matrix.true_positives, matrix.false_positives, matrix.false_negatives, matrix.true_negatives) == (2, 2, 1, 1)
    found = matrix.as_dict()
    assert (found["precision"], found["accuracy"], found["false_positive_rate"]) == (0.5, 0.5, pytest.approx(2 / 3))
    with pytest.raises(ValueError, match="judged"):
        matrix.add(np.zeros(3), np.zeros(2))


def test_alarm_fires_after_k_praised_failures_and_stays():
    alarm = ExploitationAlarm(trials=3)
    high, low = np.array([0.1, 0.9, 0.2]), np.array([0.1, 0.2])
    assert [alarm.add(p, s) for p, s in ((high, False), (high, False), (low, False), (high, None))] == [False, False, False, True]
    assert alarm.add(high, True)  # a person looks first


def test_alarm_does_not_fire_on_success_or_on_failures_that_nobody_praised():
    alarm = ExploitationAlarm(trials=2)
    high, low = np.array([0.9]), np.array([0.4])
    for _ in range(20):
        assert not alarm.add(high, False)
        assert not alarm.add(high, True)
        assert not alarm.add(low, False)
    assert not ExploitationAlarm(trials=1, window=2).add(np.array([0.9, 0.0, 0.1]), False)
    assert ExploitationAlarm(trials=1, window=2).add(np.array([0.0, 0.6, 0.7]), False)
    with pytest.raises(ValueError, match="trials 0"):
        ExploitationAlarm(trials=0)


def test_first_contact():
    assert first_contact_trial([False, False, True, False]) == 3
    assert first_contact_trial([False]) is None
