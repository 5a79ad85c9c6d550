"""Where a localiser errs."""

from __future__ import annotations

import numpy as np
import pytest
from connector_images import make_data

from apprentice_learning.representations.config import RepresentationConfig
from apprentice_learning.representations.dataset import TrainingSet
from apprentice_learning.representations.frame_models import FrameModelConfig, LocaliserTrainer
from apprentice_learning.representations.localiser_report import errors_by_distance, localiser_report
from apprentice_learning.representations.registry import ConnectorRegistry


def test_localiser_errors_are_told_by_distance_along_the_sight_and_across():
    offset = np.array([[0.0005, 0.0], [0.002, 0.0], [0.0, 0.002], [0.0, 0.008]])
    error = np.array([[0.0001, 0.0], [0.003, 0.004], [0.003, 0.004], [0.0, 0.001]])
    rows = errors_by_distance(error, offset, np.array([[2.0, 0.0]] * 4))  # seen along x
    assert [(r.near, r.frames) for r in rows] == [(0.0, 1), (1.0, 2), (3.0, 0), (6.0, 1), (12.0, 0)]
    assert (rows[1].along, rows[1].across, rows[1].p90) == pytest.approx((3.0, 4.0, 5.0))
    assert (rows[3].along, rows[3].across) == pytest.approx((0.0, 1.0)) and np.isnan(rows[2].along)


def test_localiser_report_asks_the_network_for_the_wanted_connectors_only():
    data = make_data(2, 30)
    small = RepresentationConfig(method="erm", channels=(8, 16))
    config = FrameModelConfig(representation=small, batch=32, learning_rate=1e-3, steps=150)
    trainer = LocaliserTrainer(config, TrainingSet(data, ConnectorRegistry()))
    trainer.train()
    robots = {e.robot: (0.0, 1.0) for e in data.episodes}
    one = data.connectors[:1]
    rows = localiser_report(trainer, data, one, robots, frames=10_000)
    known = np.isfinite(data.offset[data.rows_of(one)]).all(axis=1)
    assert sum(r.frames for r in rows) == known.sum()
    far = [r for r in rows if r.near >= 3.0 and r.frames]
    assert far and all(r.across < 0.5 * r.near + 2.0 for r in far)  # in millimetres, and it has learned
