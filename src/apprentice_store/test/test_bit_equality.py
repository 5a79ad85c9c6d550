"""What was recorded is what is read, bit for bit; other readers read it too."""

import numpy as np
import pytest
import yaml

from apprentice_core.episode import ACTION_KINDS
from apprentice_core.errors import BagError
from apprentice_core.spaces import observation_digest
from apprentice_store.bag_metadata import read_metadata
from apprentice_store.bag_reader import digest_mismatches, read_episode
from apprentice_store.bag_writer import BagWriter
from apprentice_store.testing import make_episode
from apprentice_store.typestore import type_hash, typestore


def test_episode_comes_back_bit_for_bit(store) -> None:
    made = make_episode(store, steps=5, seed=3)
    episode = read_episode(made.path)
    assert len(episode) == 5
    for t, observation in enumerate(made.observations):
        assert set(episode.observations) == set(observation)
        for name, values in observation.items():
            assert episode.observations[name].dtype == values.dtype
            assert episode.observations[name][t].tobytes() == values.tobytes(), (name, t)
    assert digest_mismatches(episode) == []
    for t, record in enumerate(made.records):
        for kind in ACTION_KINDS:
            assert episode.actions[kind][t].tobytes() == record.actions[kind].tobytes()
    assert episode.rewards["scripted/shaped"].tolist() == [np.float32(r.rewards["scripted/shaped"].value) for r in made.records]
    assert np.isnan(episode.rewards["scripted/sparse"]).tolist() == [False, True, False, False, False]
    for name in ("object/red/pose", "object/red/twist"):
        np.testing.assert_array_equal(episode.privileged[name], np.stack([p[name] for p in made.privileged]))
    assert episode.discount.tolist() == [1, 1, 1, 1, 0]
    assert episode.segment_index.tolist() == [0, 0, 0, 1, 1]
    assert [s.goal["position"].tolist() for s in episode.segments] == [[0, 0, 0], [1, 1, 1]]
    assert np.diff(episode.stamps["tick"]).tolist() == pytest.approx([1e8] * 5, abs=1000)
    assert (episode.stamps["applied"] - episode.stamps["received"]).tolist() == [7] * 5
    assert episode.outcome.success and episode.outcome.reason == "success" and episode.meta["steps"] == 5


def test_a_changed_bit_is_seen_by_the_digest(store) -> None:
    episode = read_episode(make_episode(store).path)
    episode.observations["camera/front"][2, 0, 0, 0] ^= 1
    assert digest_mismatches(episode) == [2]


def test_a_digest_without_pictures_is_one_of_a_source_that_sees_none(store) -> None:
    episode = read_episode(make_episode(store).path)
    blind = [n for n in episode.observations if not n.startswith("camera/")]
    assert 0 < len(blind) < len(episode.observations)
    episode.digests[1] = observation_digest(episode.observation_at(1), blind)
    assert digest_mismatches(episode) == []
    episode.observations[blind[0]][1].view(np.uint8).flat[0] ^= 1
    assert digest_mismatches(episode) == [1]


def test_only_named_arrays_are_decoded(store) -> None:
    episode = read_episode(make_episode(store).path, ["joints/position"])
    assert list(episode.observations) == ["joints/position"]


def test_rosbags_reads_it(store) -> None:
    from rosbags.rosbag2 import Reader

    made = make_episode(store)
    with Reader(made.path) as reader:
        assert {c.topic for c in reader.connections} >= {"/cell/step", "/cell/joint_states", "/cell/camera/front/image/compressed"}
        steps = [c for c in reader.connections if c.topic == "/cell/step"]
        decoded = [typestore().deserialize_cdr(raw, c.msgtype) for c, _, raw in reader.messages(connections=steps)]
        assert [s.step_id for s in decoded] == [1000 + t for t in range(5)]
        qos = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
        assert qos["/cell/cell_spec"].durability.name == "TRANSIENT_LOCAL" and qos["/cell/step"].depth == 1000
        assert reader.message_count == read_metadata(made.path)["message_count"]


def test_mcap_ros2_reads_it_without_any_of_our_types(store) -> None:
    from mcap_ros2.reader import read_ros2_messages

    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    messages = list(read_ros2_messages(file, topics=["/cell/step"]))
    assert [m.ros_msg.step for m in messages] == list(range(5))
    assert messages[0].ros_msg.parts[0].stream == "joints"
    np.testing.assert_array_equal(messages[2].ros_msg.executed, made.records[2].actions["executed"])


def test_mcap_index_and_crcs_hold(store) -> None:
    from mcap.reader import make_reader

    with next(make_episode(store).path.glob("*.mcap")).open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        indexed = sum(1 for _ in reader.iter_messages(log_time_order=True))
    assert summary is not None and summary.statistics is not None
    assert indexed == summary.statistics.message_count > 0
    assert {c.topic for c in summary.channels.values()} >= {"/cell/tick"}


def test_metadata_has_the_fields_of_version_9(store) -> None:
    made = make_episode(store)
    info = yaml.safe_load((made.path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["version"] == 9 and info["storage_identifier"] == "mcap"
    assert info["relative_file_paths"] == [f"{made.episode_id}_0.mcap"] == [f["path"] for f in info["files"]]
    assert info["compression_format"] == info["compression_mode"] == "" and info["ros_distro"] == "jazzy"
    assert info["duration"]["nanoseconds"] == pytest.approx(5e8, abs=1000)
    topics = {t["topic_metadata"]["name"]: t for t in info["topics_with_message_count"]}
    assert sum(t["message_count"] for t in topics.values()) == info["message_count"]
    step = topics["/cell/step"]["topic_metadata"]
    assert step["type_description_hash"] == type_hash("apprentice_interfaces/msg/Step")
    assert step["type_description_hash"].startswith("RIHS01_")
    assert step["serialization_format"] == "cdr"
    [qos] = step["offered_qos_profiles"]
    assert qos["reliability"] == "reliable" and qos["history"] == "keep_last"
    custom = info["custom_data"]
    assert custom["episode_id"] == made.episode_id and len(custom["hash"]) == 64
    assert custom["kind"] == "episode" and custom["task"] == "lift"


def test_who_acted_is_kept_step_by_step_and_decides_the_episode_type(store) -> None:
    kinds = {"AGENT": ("policy", ()), "TELEOPERATION": ("teleop", ()), "DAGGER": ("policy", (1, 2, 4))}
    for kind, (source, people) in kinds.items():
        made = make_episode(store, source=source, people=people)
        assert store.catalogue.get(made.episode_id).episode_type == f"EPISODE_ROBOT_{kind}"
        assert read_episode(made.path).actors == ["teleop" if t in people else source for t in range(5)]


def test_a_committed_bag_is_never_written_again(store) -> None:
    made = make_episode(store)
    before = {p.name: p.read_bytes() for p in made.path.iterdir()}
    with pytest.raises(BagError, match="never rewritten"):
        BagWriter(store.folder, made.episode_id)
    assert {p.name: p.read_bytes() for p in made.path.iterdir()} == before and len(before) == 2, "one file of messages, one of metadata"
