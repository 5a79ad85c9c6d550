"""Domains, close variants, splits, and the one door to training (C3-C5)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from connector_images import STEPS, make_data

from apprentice_core.episode import ACTION_KINDS, Episode, EpisodeOutcome, Segment
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.streams import TOOL_POSE
from apprentice_learning.representations.dataset import CAMERA, SOCKET, ConnectorData, TrainingSet
from apprentice_learning.representations.losses import NO_DOMAIN
from apprentice_learning.representations.registry import ConnectorRegistry, Domain, HeldOutError, load_registry

NAMES = ("usb", "usb_black", "usb_c", "vga", "dt12", "dt12_worn", "hdmi", "dvi")
REGISTRY = ConnectorRegistry(held_out=("dt12",), variants={"usb": ("usb", "usb_black"), "dt": ("dt12", "dt12_worn")})


@pytest.fixture(scope="module")
def data():
    return make_data(len(NAMES), 2, ("left", "right"), names=NAMES)


def test_no_training_set_holds_a_held_out_connector_or_its_variant(data):
    for asked in (["usb", "dt12"], ["usb", "dt12_worn"], None):
        with pytest.raises(HeldOutError, match="dt12"):
            TrainingSet(data, REGISTRY, asked)
    assert set(TrainingSet.without(data, REGISTRY).connectors) == set(NAMES) - {"dt12", "dt12_worn"}


def test_leaving_one_out_drops_it_on_every_robot_and_its_variants(data):
    training = TrainingSet.without(data, REGISTRY, ["usb"])
    owners = [data.episodes[i] for i in np.unique(data.frame_episode[training.rows])]
    assert {e.connector for e in owners} == {"usb_c", "vga", "hdmi", "dvi"}
    assert {e.robot for e in owners} == {"left", "right"}
    assert training.domains[:2] == (Domain("dvi", "left"), Domain("dvi", "right")) and len(training.domains) == 8
    assert (training.domain[training.rows] >= 0).all()
    assert (np.delete(training.domain, training.rows) == NO_DOMAIN).all()


def test_a_step_never_crosses_into_the_next_episode(data):
    training = TrainingSet.without(data, REGISTRY)
    owner = data.frame_episode
    assert (owner[training.steps] == owner[training.steps + 1]).all()
    assert len(training.steps) == len(training.rows) * STEPS // (STEPS + 1)


def test_reward_split_keeps_variants_together_and_held_out_names_out_of_training():
    names = [f"c{i}" for i in range(34)] + list(NAMES)
    for seed in range(20):
        train, test = REGISTRY.reward_split(names, seed=seed)
        assert (len(train), len(test)) == (25, 5)
        assert not set(train) & REGISTRY.forbidden
        assert not {v for t in test for v in REGISTRY.close(t)} & set(train)
    assert REGISTRY.reward_split(names, seed=3) == REGISTRY.reward_split(reversed(names), seed=3)
    with pytest.raises(ApprenticeError, match="not 25 and 5"):
        REGISTRY.reward_split(NAMES)


def test_shipped_registry_holds_out_the_four_test_tasks(tmp_path):
    assert {"dt12_1", "dt12_1_b", "megablock_1x1", "nema_15", "europlug"} <= load_registry().forbidden
    path = tmp_path / "r.yaml"
    path.write_text("variants: {a: [x, y], b: [y]}")
    with pytest.raises(ConfigError, match="y in more than one group"):
        load_registry(str(path))


def episode(connector: str = "usb", **meta) -> Episode:
    rng = np.random.default_rng(0)
    t = 4
    actions = {k: np.full((t, 3), 0.5, dtype=np.float32) for k in ACTION_KINDS}
    tool, socket = (np.cumsum(rng.standard_normal((t + 1, 7)), 0).astype(np.float32) for _ in range(2))
    return Episode(
        episode_id=connector, path="", meta={"metadata": {"connector_id": connector, "robot_id": "left", **meta}},
        observations={CAMERA: rng.integers(0, 255, (t + 1, 32, 32, 3), dtype=np.uint8), TOOL_POSE: tool}, actions=actions,
        discount=np.ones(t, dtype=np.float32), rewards={"scripted/sparse": np.array([0, 0, 0, 1], dtype=np.float32)},
        privileged={SOCKET: socket}, actors=["s"] * t, outcomes=["ok"] * t, segments=[Segment()],
        segment_index=np.zeros(t, dtype=np.int32), digests=[""] * (t + 1), stamps={}, outcome=EpisodeOutcome(False, True, "horizon", True),
    )


def test_episodes_become_frames_with_the_success_of_each_and_the_way_to_the_socket():
    one, two = episode("usb"), episode("vga", background_id="wood")
    data = ConnectorData.from_episodes([one, two])
    assert data.success.tolist() == [False, False, False, False, True] * 2
    assert np.allclose(data.offset[:5], one.privileged[SOCKET][:, :2] - one.observations[TOOL_POSE][:, :2])
    assert (data.action[4] == 0).all() and (data.action[3] == 0.5).all()
    assert data.episodes[1].background == "wood" and data.domains == (Domain("usb", "left"), Domain("vga", "left"))
    joined = ConnectorData.join([data, data])
    assert len(joined.frames) == 20 and joined.starts.tolist() == [0, 5, 10, 15, 20]


def test_episodes_that_say_too_little_or_come_from_other_image_code_are_refused():
    nameless = episode()
    del nameless.meta["metadata"]["robot_id"]
    with pytest.raises(ApprenticeError, match="metadata lacks robot_id"):
        ConnectorData.from_episodes([nameless])
    with pytest.raises(ApprenticeError, match="image code 123"):
        ConnectorData.from_episodes([episode(preprocessing="123")])
    with pytest.raises(ApprenticeError, match="not every episode has reward/human/binary"):
        ConnectorData.from_episodes([episode()], reward="human/binary")
    data = ConnectorData.from_episodes([episode()])
    with pytest.raises(ValueError, match="differ in length"):
        dataclasses.replace(data, action=data.action[:-1])
