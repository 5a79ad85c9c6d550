"""Torn, truncated, changed, hostile and foreign bags: one line each, and the rest loads."""

from __future__ import annotations

import logging
import shutil
import struct

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apprentice_core.errors import BagError
from apprentice_store.bag_metadata import read_metadata
from apprentice_store.bag_reader import EpisodeReader, read_episode
from apprentice_store.bag_writer import BagWriter
from apprentice_store.frames import EpisodeFrames, middle_frame
from apprentice_store.mcap_file import MAGIC
from apprentice_store.mcap_scan import McapPick, McapScan
from apprentice_store.testing import make_episode
from apprentice_store.typestore import deserialise, make, serialise


def one_line(path) -> str:
    with pytest.raises(BagError) as caught:
        read_episode(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def rewrite(made, change) -> None:
    """Replaces a bag by one whose messages went through `change(topic, message) -> message or None`."""
    file = next(made.path.glob("*.mcap"))
    messages = [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(file)]
    shutil.rmtree(made.path)
    writer = BagWriter(made.path.parent, made.path.name)
    for topic, kind, t, cdr in messages:
        message = change(topic, deserialise(kind, cdr))
        if message is not None:
            if topic not in writer:
                writer.add_topic(topic, kind)
            writer.write(topic, t, serialise(kind, message))
    writer.commit()


def test_truncated_file_is_refused(store) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    whole = file.read_bytes()
    for size in (0, 4, 30, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert "torn" in one_line(made.path) or size < 8


def test_flipped_byte_is_refused(store) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    assert "CRC" in one_line(made.path)
    assert {f.code for f in store.check().findings} == {"damaged"}


def test_changed_footer_is_seen_by_the_hash(store) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    data[-len(MAGIC) - 10] ^= 1
    file.write_bytes(data)
    assert [f.code for f in store.check().findings] == ["hash"]
    assert store.check(hashes=False).ok
    assert [f.code for f in store.repair().hopeless] == ["damaged"]


def test_foreign_bag_of_rosbags_is_skipped_and_said(store) -> None:
    from rosbags.rosbag2 import Writer
    from rosbags.rosbag2.enums import StoragePlugin

    from apprentice_store.typestore import typestore

    make_episode(store)
    with Writer(store.folder / "foreign", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=typestore())
        writer.write(connection, 1, serialise("std_msgs/String", make("std_msgs/String", data="hello")))
    assert "foreign" in one_line(store.folder / "foreign")
    report = store.check()
    assert [f.code for f in report.findings] == ["foreign"] and report.ok and report.checked == 2


def test_a_damaged_bag_is_skipped_with_a_warning_and_the_rest_loads(store, caplog) -> None:
    made = [make_episode(store, seed=s) for s in range(3)]
    file = next(made[1].path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:2000])
    skipped: list[str] = []
    with caplog.at_level(logging.WARNING):
        loaded = [e.episode_id for e in store.load([r.episode_id for r in store.episodes()], skipped=skipped)]
    assert loaded == [made[0].episode_id, made[2].episode_id] and skipped == [made[1].episode_id]
    assert len(caplog.records) == 1 and made[1].episode_id in caplog.text


@pytest.mark.parametrize("name", ["../outside_0.mcap", "/etc/passwd", "..", "", "a/b.mcap"])
def test_paths_that_lead_out_are_refused(store, name: str) -> None:
    made = make_episode(store)
    path = made.path / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    content["rosbag2_bagfile_information"]["relative_file_paths"] = [name]
    path.write_text(yaml.safe_dump(content))
    assert "relative_file_paths" in one_line(made.path)


def test_symlink_is_refused(store, tmp_path) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    file.rename(tmp_path / "elsewhere.mcap")
    file.symlink_to(tmp_path / "elsewhere.mcap")
    assert "plain file" in one_line(made.path)


def test_yaml_that_would_run_code_or_is_no_mapping_is_refused(store) -> None:
    made = make_episode(store)
    for text in ("!!python/object/apply:os.system ['true']", "[1, 2]", "{", "a: &a [*a]", "\x00"):
        (made.path / "metadata.yaml").write_text(text)
        assert "metadata" in one_line(made.path)


def test_image_of_another_size_is_refused_before_decoding(store) -> None:
    made = make_episode(store)

    def bomb(topic, message):
        if topic.endswith("front/image/compressed"):
            data = bytearray(message.data.tobytes())
            data[16:24] = struct.pack(">II", 60_000, 60_000)
            message.data = np.frombuffer(bytes(data), np.uint8)
        return message

    rewrite(made, bomb)
    assert "image 60000x60000, the cell spec says 16x24" in one_line(made.path)


def test_missing_observation_and_wrong_action_are_named(store) -> None:
    made, other = make_episode(store, seed=1), make_episode(store, seed=2)
    dropped = []

    def drop(topic, message):
        if topic == "/cell/joint_states" and not dropped:
            dropped.append(1)
            return None
        return message

    rewrite(made, drop)
    assert "lacks 'joints at" in one_line(made.path)

    def widen(topic, message):
        if topic == "/cell/step":
            message.executed = np.zeros(9, np.float32)
        return message

    rewrite(other, widen)
    assert "step 0: executed has 9 numbers, the action space 7" in one_line(other.path)


@pytest.mark.parametrize(("topic", "expected"), [("/cell/cell_spec", "no cell_spec"), ("/cell/episode/event", "foreign bag")])
def test_without_its_spine_it_is_no_episode(store, topic: str, expected: str) -> None:
    made = make_episode(store)
    rewrite(made, lambda t, message: None if t == topic else message)
    assert expected in one_line(made.path)


def test_a_missing_step_is_told(store) -> None:
    made = make_episode(store)
    rewrite(made, lambda t, message: None if t == "/cell/step" and message.step == 2 else message)
    assert "counts 5 steps, the bag holds 4" in one_line(made.path)


def test_open_and_torn_folders_are_not_read(store) -> None:
    made = make_episode(store)
    open_folder = made.path.rename(made.path.with_name(made.path.name + ".open"))
    assert "never committed" in one_line(open_folder)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_an_episode_or_one_line(store, data) -> None:
    bags = store.bags()
    path = bags[0] if bags else make_episode(store, steps=2).path
    file = next(path.glob("*.mcap"))
    keep = store.folder.parent / "whole"
    if not keep.exists():
        shutil.copy(file, keep)
    whole = bytearray(keep.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(1, 9))] = data.draw(st.binary(max_size=9))
    # The CRC of chunks is switched off, so that what follows it meets the damage too.
    where = whole.find(b"\x06", len(MAGIC))
    if where > 0 and data.draw(st.booleans()):
        whole[where + 33 : where + 37] = bytes(4)
    file.write_bytes(whole)
    for read in (read_episode, middle_frame):
        try:
            read(path)
        except BagError as error:
            assert "\n" not in str(error)


def test_one_picture_is_the_one_that_the_middle_step_answered(store) -> None:
    for steps in (1, 2, 7):
        made = make_episode(store, steps=steps)
        assert middle_frame(made.path) == EpisodeFrames(EpisodeReader(made.path)).png("front", steps // 2)


def test_a_bag_without_a_camera_has_no_picture(store) -> None:
    made = make_episode(store)
    rewrite(made, lambda topic, message: None if "/camera/" in topic else message)
    assert middle_frame(made.path) is None


def test_an_index_that_lies_is_refused(store) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    pick = McapPick(file)
    [topic] = [t for t in pick.types if t.endswith("/camera/front/image/compressed")]
    entries = pick.entries(topic)
    for place in (struct.pack("<q", 1 << 40), struct.pack("<q", -1), struct.pack("<q", 0)):
        changed = bytearray(data)
        for time, _, at in entries:
            entry = struct.pack("<qq", time, at)
            assert changed.count(entry) == 1
            changed[changed.index(entry) + 8 : changed.index(entry) + 16] = place
        file.write_bytes(changed)
        with pytest.raises(BagError, match="index") as caught:
            middle_frame(made.path)
        assert "\n" not in str(caught.value)


def test_metadata_survives(store) -> None:
    assert read_metadata(make_episode(store).path)["custom_data"]["lost"] == "0"
