"""Rates and ages."""

import pytest

from apprentice_perception.stream_health import OK, STALE, WARN, StreamHealth


def _fed(rate, n=20):
    health = StreamHealth(20.0, 0.2)
    for k in range(n):
        health.add(k / rate)
    return health, (n - 1) / rate


@pytest.mark.parametrize(("rate", "after", "level"), [(20.0, 0.01, OK), (19.0, 0.01, OK), (10.0, 0.01, WARN), (20.0, 0.3, STALE)])
def test_levels(rate, after, level):
    health, last = _fed(rate)
    result = health.check(last + after)
    assert result.level == level and result.rate == pytest.approx(rate) and result.age == pytest.approx(after)


def test_nothing_yet_is_stale():
    assert StreamHealth(20.0, 0.2).check(5.0).level == STALE
