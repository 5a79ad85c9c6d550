"""The published layout: out and in again, a file of the release, and strangers' files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.images import decode_png
from apprentice_store import published_layout as p
from apprentice_store.bag_reader import digest_mismatches
from apprentice_store.published_export import export_store
from apprentice_store.published_import import import_store
from apprentice_store.store import Store
from apprentice_store.testing import make_episode
from apprentice_store.tf_record import decode_example, encode_example, read_records, write_record

CURVE = np.float32([0, 0.2, 0.4, 0.6, 0.9, 1])


@pytest.fixture
def other(tmp_path: Path):
    with Store(tmp_path / "other") as made:
        yield made


@pytest.mark.parametrize("features, data", [
    # By hand from the published definition: field numbers, wire types, lengths.
    ({"b": b"x"}, "0a0c 0a0a 0a0162 1205 0a03 0a0178"),
    ({"a": np.float32([1.0])}, "0a0f 0a0d 0a0161 1208 1206 0a040000803f"),
    ({"c": np.int64([-1])}, "0a15 0a13 0a0163 120e 1a0c 0a0affffffffffffffffff01"),
])
def test_an_example_has_the_bytes_of_the_published_definition(features, data):
    assert encode_example(features) == bytes.fromhex(data)
    [(name, value)] = decode_example(bytes.fromhex(data)).items()
    assert value == features[name] and type(value) is type(features[name])


def test_another_reader_accepts_the_records(tmp_path):
    path = tmp_path / "records"
    with path.open("wb") as file:
        for data in (b"", b"one", b"x" * 100_000):
            write_record(file, data)
    reader = PyRecordReader_New(str(path))
    found = []
    with pytest.raises(Exception, match="No more events"):
        while True:
            reader.GetNext()
            found.append(reader.record())
    assert found == [b"", b"one", b"x" * 100_000] == list(read_records(path))


@pytest.mark.parametrize("cut", [1, 11, 13, 20])
def test_a_cut_or_changed_file_is_one_line(tmp_path, cut):
    path = tmp_path / "records"
    with path.open("wb") as file:
        write_record(file, b"hello world")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(BagError, match="damaged"):
        list(read_records(path))
    path.write_bytes(whole[:14] + b"!" + whole[15:])
    with pytest.raises(BagError, match="damaged"):
        list(read_records(path))


def test_the_database_is_the_published_one(store, tmp_path):
    made = make_episode(store)
    store.catalogue.add_reward_sequence(made.episode_id, "lift", CURVE, "u1")
    report = export_store(store, tmp_path / "out")
    assert report.episodes == [made.episode_id] and report.sequences == 1 and not report.refused
    c = sqlite3.connect(tmp_path / "out" / "metadata.sqlite")
    assert {r[0] for r in c.execute("select name from sqlite_master where type = 'table'")} == {
        "Episodes", "Tags", "EpisodeTags", "RewardSequences", "ArchiveFiles",
    }
    [(number, task, path, stamp, kind)] = c.execute("select EpisodeId, TaskId, DataPath, Timestamp, EpisodeType from Episodes")
    assert number.isdecimal() and p.our_id(number) == made.episode_id and task == "lift" and stamp == 1_700_000_000
    assert kind == "EPISODE_ROBOT_AGENT" and (tmp_path / "out" / path).is_file()
    [(of, label, user, blob)] = c.execute('select RewardTaskId, Type, User, "Values" from RewardSequences')
    assert (of, label, user) == ("lift", "REWARD_SKETCH", "u1") and np.array_equal(np.frombuffer(blob, "<f4"), CURVE)
    steps = [decode_example(r) for r in read_records(tmp_path / "out" / path)]
    assert len(steps) == 6 == len(CURVE), "one reward a frame"
    for t, step in enumerate(steps):
        np.testing.assert_array_equal(decode_png(step["pixels/front"]), made.observations[t]["camera/front"])
    np.testing.assert_array_equal(steps[2]["actions"], made.records[2].actions["executed"])


def test_out_and_in_again_is_the_same_bit_for_bit(store, other, tmp_path):
    made = [make_episode(store, seed=i, source=s, success=i == 0) for i, s in enumerate(("expert", "teleop"))]
    first = made[0].episode_id
    store.catalogue.add_reward_sequence(first, "lift", CURVE, "u1")
    store.tag(first, "good")
    store.tag(first, "made", False)
    store.catalogue.annotate(first, "success", "", False, "u1")
    export_store(store, tmp_path / "out")
    report = import_store(other, tmp_path / "out")
    assert sorted(report.episodes) == sorted(m.episode_id for m in made) and not report.refused
    for m in made:
        a, b = store.read(m.episode_id), other.read(m.episode_id)
        for group in ("observations", "actions", "rewards", "privileged"):
            left, right = getattr(a, group), getattr(b, group)
            assert set(left) == set(right)
            for name, values in left.items():
                np.testing.assert_array_equal(values, right[name], err_msg=name)
        assert digest_mismatches(b) == [] and a.actors == b.actors and np.array_equal(a.discount, b.discount) and a.outcome == b.outcome
        assert [x.index for x in a.segments] == [x.index for x in b.segments] and np.array_equal(a.segment_index, b.segment_index)
        assert abs(a.stamps["tick"] - b.stamps["tick"]).max() < 1000
        mine, theirs = store.catalogue.get(m.episode_id), other.catalogue.get(m.episode_id)
        for name in ("task", "source", "kind", "episode_type", "steps", "success", "terminated", "truncated", "reason", "seed"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert store.catalogue.tags_of(m.episode_id) == other.catalogue.tags_of(m.episode_id)
    [(task, kind, user, values)] = other.catalogue.reward_sequences(first)
    assert (task, kind, user) == ("lift", "REWARD_SKETCH", "u1") and np.array_equal(values, CURVE)
    assert other.check().ok
    again = import_store(other, tmp_path / "out")
    assert again.episodes == [] and len(again.present) == 2 and again.sequences == 0


def test_only_what_a_query_names_goes_out_and_never_over_another(store, tmp_path):
    make_episode(store, task="lift"), make_episode(store, task="stack", seed=1)
    assert len(export_store(store, tmp_path / "out", "task = 'stack'").episodes) == 1
    with pytest.raises(ApprenticeError, match="exists"):
        export_store(store, tmp_path / "out")


def test_a_damaged_bag_is_told_and_the_rest_goes_out(store, tmp_path):
    good, bad = make_episode(store), make_episode(store, seed=1)
    [file] = bad.path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    report = export_store(store, tmp_path / "out")
    assert report.episodes == [good.episode_id] and report.refused[0][0] == bad.episode_id
    assert not list((tmp_path / "out").glob(".*"))


# -- the public release, as its description has it ---------------------------------------------------------------------------------

NUMBER = "10000313341320364033"


def release(folder: Path, frames: int = 4, kind: str = "EPISODE_ROBOT_DAGGER", **features) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    picture = cv2.imencode(".jpg", rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))[1].tobytes()
    sizes = {**p.SIZES, p.FORCE: 3, p.TORQUE: 3, "sawyer/tcp/pose": 7, "sawyer/tcp/effort": 6, p.ACTIONS: 7}
    with (folder / "file_1").open("wb") as file:
        for _ in range(frames):
            step = {n: rng.uniform(-1, 1, k).astype(np.float32) for n, k in sizes.items()}
            step |= {"gripper/grasp": np.int64([1]), "pixels/basket_front_left": picture, "pixels/usbcam0": picture}
            step |= {"pixels/royale_camera_driver_depth": np.zeros(50, np.float32)}
            write_record(file, encode_example({**step, **features}))
    c = sqlite3.connect(folder / "metadata.sqlite")
    c.executescript("""
        create table Episodes (EpisodeId text, TaskId text, DataPath text, Timestamp integer, EpisodeType text);
        create table EpisodeTags (EpisodeId text, Tag text);
        create table RewardSequences (EpisodeId text, RewardSequenceId text, RewardTaskId text, Type text, User text, "Values" blob);
    """)
    c.execute("insert into Episodes values (?, 'lift_green', 'file_1', 1550000000, ?)", (NUMBER, kind))
    c.execute("insert into EpisodeTags values (?, 'rgb')", (NUMBER,))
    blob = np.linspace(0, 1, frames, dtype="<f4").tobytes()
    c.execute("insert into RewardSequences values (?, 'seq-1', 'lift_green', 'REWARD_SKETCH', 'user1', ?)", (NUMBER, blob))
    c.commit()
    c.close()
    return folder


def test_a_file_of_the_release_becomes_a_bag(store, tmp_path):
    report = import_store(store, release(tmp_path / "in"))
    assert not report.refused and report.sequences == 1
    [row] = store.episodes("tag = 'rgb' and tag = 'imported' and sketch = 'lift_green'")
    assert row.steps == 3 and row.task == "lift_green" and row.episode_type == "EPISODE_ROBOT_DAGGER"
    assert p.published_id(row.episode_id) == NUMBER
    episode = store.read(row.episode_id)
    steps = [decode_example(r) for r in read_records(tmp_path / "in" / "file_1")]
    np.testing.assert_array_equal(episode.observations["joints/position"][1], steps[1]["sawyer/joints/angle"])
    np.testing.assert_array_equal(episode.observations["wrist/wrench"][3], np.concatenate([steps[3][p.FORCE], steps[3][p.TORQUE]]))
    np.testing.assert_array_equal(episode.actions["executed"][2], steps[2]["actions"])
    np.testing.assert_array_equal(episode.observations["camera/wrist_left"][0], decode_png(steps[0]["pixels/usbcam0"]))
    [(_, _, user, values)] = store.catalogue.reward_sequences(row.episode_id)
    assert user == "user1" and len(values) == row.steps + 1
    assert import_store(store, tmp_path / "in").sequences == 0 and store.check().ok


@pytest.mark.parametrize("wrong, said", [
    ({"features": {"actions": np.float32([np.nan] * 7)}}, "actions"), ({"features": {"actions": np.float32([0.0] * 6)}}, "actions"),
    ({"features": {"pixels/usbcam0": b"GIF89a"}}, "PNG nor JPEG"), ({"frames": 1}, "at least two"),
    ({"sql": "update Episodes set DataPath = '../file_1'"}, "plain file name"),
    ({"sql": "update Episodes set DataPath = '/etc/passwd'"}, "plain file name"),
    ({"sql": "update Episodes set DataPath = 'metadata.sqlite'"}, "TFRecord"), ({"sql": "update Episodes set EpisodeId = '12x'"}, "digits"),
    ({"sql": f"update Episodes set EpisodeId = '{'9' * 60}'"}, "digits"), ({"features": {"apprentice/episode": b"{}"}}, "required"),
    ({"features": {"apprentice/episode": b"[" * 50_000}}, ""),
])
def test_strangers_files_are_refused_in_one_line_and_leave_nothing(store, tmp_path, wrong, said):
    folder = release(tmp_path / "in", wrong.get("frames", 4), **wrong.get("features", {}))
    if "sql" in wrong:
        with sqlite3.connect(folder / "metadata.sqlite") as c:
            c.execute(wrong["sql"])
    report = import_store(store, folder)
    [(_, reason)] = report.refused
    assert said in reason and "\n" not in reason and store.episodes() == [] and store.bags() == []
    assert store.check().findings == []


def test_an_import_that_was_killed_can_be_repeated(store, tmp_path):
    folder = release(tmp_path / "in")
    (store.folder / f"{p.our_id(NUMBER)}.open").mkdir()
    assert len(import_store(store, folder).episodes) == 1 and store.check().findings == []


def test_no_store_in_the_published_layout(store, tmp_path):
    with pytest.raises(ApprenticeError, match="missing"):
        import_store(store, tmp_path)
    (tmp_path / "metadata.sqlite").write_bytes(b"no database" * 200)
    with pytest.raises(ApprenticeError, match="cannot be read"):
        import_store(store, tmp_path)
