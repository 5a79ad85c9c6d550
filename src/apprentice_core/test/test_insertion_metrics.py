"""Spec 001c checklist A24, B23, B25, B26, C43 over episodes with known tracks."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.episode import Episode, EpisodeOutcome
from apprentice_core.insertion import (
    UNSUCCESSFUL,
    final_distance,
    first_contact,
    first_trial_with_contact,
    reward_hacks,
    saturation,
    tool_spread,
)


def episode(track: np.ndarray, image: list[float] | None = None, force: list[float] | None = None, name: str = "e") -> Episode:
    """`track` [T+1, 3]: plug minus socket; image: goal image reward of each transition; force: vertical force of each observation."""
    t = len(track) - 1
    socket = np.zeros((t + 1, 7), np.float32)
    socket[:, :3] = [0.6, 0.0, 0.05]
    plug = socket.copy()
    plug[:, :3] += track
    wrench = np.zeros((t + 1, 6), np.float32)
    wrench[:, 2] = 1.0 if force is None else np.array(force) + 1.0
    return Episode(
        name, "", {}, {"tool/pose": plug, "wrist/wrench": wrench}, {}, np.ones(t, np.float32),
        {"goal_image/image": np.array(image if image is not None else np.zeros(t), np.float32)},
        {"object/plug/pose": plug, "object/socket/pose": socket}, [], [], [], np.zeros(t, int), [], {},
        EpisodeOutcome(False, True, "horizon"),
    )


def line(*heights: float, aside: float = 0.0) -> np.ndarray:
    return np.array([[aside, 0.0, h] for h in heights])


def test_final_distance() -> None:
    assert final_distance(episode(line(0.05, 0.02, 0.009))) < UNSUCCESSFUL < final_distance(episode(line(0.05, 0.011)))


def test_a_descent_beside_the_socket_that_looks_right_is_flagged() -> None:
    images = [-1.0, -0.6, -0.2, -0.3]
    honest = episode(line(0.05, 0.03, 0.02, 0.001, 0.0, aside=0.001), images)
    hack = episode(line(0.05, 0.03, 0.02, 0.001, 0.0, aside=0.008), images, name="hack")
    elsewhere = episode(line(0.05, 0.05, 0.05, 0.05, 0.05, aside=0.008), [-1.0, -0.9, -0.8, -0.9], name="far")
    found = reward_hacks([honest, hack, elsewhere])
    assert [(h.episode_id, h.step) for h in found] == [("hack", 3)]
    assert found[0].aside == pytest.approx(0.008, abs=1e-6) and found[0].gained == pytest.approx(0.8)
    assert not reward_hacks([episode(line(0.05, 0.0), [float("nan")])])


def test_saturation_counts_what_is_at_the_limit() -> None:
    actions = np.array([[0.96, -1.0, 0.5], [0.94, 0.0, -0.951]])
    assert saturation(actions) == pytest.approx(0.5)
    assert np.isnan(saturation(np.zeros((0, 3))))


def test_spread_is_the_trace_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    narrow, wide = (episode(rng.normal(0, s, (4000, 3))) for s in (0.001, 0.01))
    assert tool_spread([wide]) == pytest.approx(3e-4, rel=0.05) and tool_spread([narrow]) < 0.02 * tool_spread([wide])
    split = [episode(line(*[0.0] * 10)), episode(line(*[0.0] * 10, aside=0.1))]
    assert tool_spread(split) > 0.002, "two tight places far apart are spread out"


def test_first_contact() -> None:
    free, touching = episode(line(0.05, 0.04, 0.03)), episode(line(0.05, 0.04, 0.03), force=[0.0, 0.5, -6.0])
    assert first_contact(free) is None and first_contact(touching) == 2
    assert first_trial_with_contact([free, free, touching]) == 2 and first_trial_with_contact([free]) is None
