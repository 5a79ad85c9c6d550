"""The recorder cuts by stamp, waits for what is named, and says what it lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store import messages as m
from apprentice_store.bag_metadata import TopicQos
from apprentice_store.bag_reader import read_episode
from apprentice_store.episode_recorder import EpisodeRecorder
from apprentice_store.mcap_scan import McapScan
from apprentice_store.store import Store
from apprentice_store.testing import Made, child_environment, make_episode
from apprentice_store.typestore import deserialise, make, serialise

Message = tuple[str, str, int, bytes]


def messages_of(made: Made) -> list[Message]:
    return [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(next(made.path.glob("*.mcap")))]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source(tmp_path: Path) -> Made:
    with Store(tmp_path / "source", f"sqlite:///{tmp_path / 'source.sqlite'}") as store:
        return make_episode(store, steps=6)


def feed(recorder: EpisodeRecorder, messages: list[Message]) -> None:
    for message in messages:
        recorder.offer(*message)


def shuffle_between_topics(messages: list[Message], seed: int) -> list[Message]:
    """Any order over the topics, each topic in its own order: what DDS gives."""
    rng = random.Random(seed)
    queues: dict[str, list[Message]] = {}
    for message in messages:
        queues.setdefault(message[0], []).append(message)
    out = []
    while queues:
        name = rng.choice(sorted(queues))
        out.append(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    return out


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_gives_the_same_episode(store, source: Made, seed: int) -> None:
    recorder = EpisodeRecorder(store, "cell", clock=Clock())
    feed(recorder, shuffle_between_topics(messages_of(source), seed))
    [done] = recorder.poll()
    assert done.ok and done.lost == 0 and done.episode_id == source.episode_id and not recorder.recording
    one, two = read_episode(source.path), read_episode(done.path)
    for name, values in one.observations.items():
        np.testing.assert_array_equal(two.observations[name], values)
    np.testing.assert_array_equal(one.actions["executed"], two.actions["executed"])
    np.testing.assert_array_equal(one.rewards["scripted/shaped"], two.rewards["scripted/shaped"])
    assert done.counts["/cell/step"]["written"] == 6 and done.counts["/cell/step"]["gaps"] == 0
    assert done.messages == len(messages_of(source)), "each message once"
    assert [r.episode_id for r in store.episodes()] == [source.episode_id]
    recorder.close()


def test_neighbours_in_time_stay_out_and_the_pre_roll_comes_in(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell", clock=Clock())
    messages = messages_of(source)
    start = min(t for _, _, t, _ in messages)
    before = serialise("geometry_msgs/TwistStamped", make("geometry_msgs/TwistStamped", header=make(
        "std_msgs/Header", stamp=m.time_message(start - 1), frame_id="before")))
    recorder.offer("/cell/tool/twist", "geometry_msgs/msg/TwistStamped", start + 5, before)
    observations = [x for x in messages if x[1] not in (m.EVENT,)]
    feed(recorder, observations)
    assert recorder.recording == ""
    feed(recorder, [x for x in messages if x[1] == m.EVENT])
    [done] = recorder.poll()
    assert done.ok and done.lost == 0
    written = McapScan(next(Path(done.path).glob("*.mcap")))
    twists = [deserialise(c.type, b).header.frame_id for c, _, b in written if c.topic.endswith("twist")]
    assert len(twists) == 7 and "before" not in twists
    recorder.close()


def test_it_waits_for_a_named_message_then_counts_it_as_lost(store, source: Made) -> None:
    clock = Clock()
    recorder = EpisodeRecorder(store, "cell", clock=clock)
    messages = messages_of(source)
    image = [x for x in messages if x[0] == "/cell/camera/front/image/compressed"][3]
    feed(recorder, [x for x in messages if x is not image])
    assert recorder.poll() == [] and recorder.recording == source.episode_id
    clock.now += 1.9
    assert recorder.poll() == []
    clock.now += 0.2
    [done] = recorder.poll()
    assert done.ok and done.lost == 1 and "lost" in done.message
    assert store.episodes()[0].lost == 1
    recorder.close()


def test_a_late_message_completes_the_episode(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell", clock=Clock())
    messages = messages_of(source)
    late = [x for x in messages if x[0] in ("/cell/camera/front/image/compressed", "/cell/reward/scripted", "/cell/applied")]
    feed(recorder, [x for x in messages if x not in late])
    assert recorder.poll() == []
    feed(recorder, late)
    [done] = recorder.poll()
    assert done.ok and done.lost == 0
    recorder.close()


def test_latched_spec_is_kept_for_the_next_episode(store, tmp_path: Path) -> None:
    with Store(tmp_path / "source", f"sqlite:///{tmp_path / 'source.sqlite'}") as other:
        one, two = make_episode(other, seed=1), make_episode(other, seed=2, t0=1_700_000_100.0)
    recorder = EpisodeRecorder(store, "cell", clock=Clock())
    recorder.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", TopicQos(100, latched=True))
    recorder.offer("/tf_static", "tf2_msgs/msg/TFMessage", 5, serialise("tf2_msgs/TFMessage", make("tf2_msgs/TFMessage")))
    feed(recorder, messages_of(one))
    [first] = recorder.poll()
    feed(recorder, [x for x in messages_of(two) if x[0] != "/cell/cell_spec"])
    [second] = recorder.poll()
    assert first.ok and second.ok and second.episode_id == two.episode_id
    assert len(read_episode(second.path)) == 5
    assert first.counts["/tf_static"]["written"] == second.counts["/tf_static"]["written"] == 1
    recorder.close()


def test_two_recorders_on_one_cell(store) -> None:
    recorder = EpisodeRecorder(store, "cell")
    with pytest.raises(ApprenticeError, match=rf"recorded into .* by process {os.getpid()}"):
        EpisodeRecorder(store, "/cell/")
    EpisodeRecorder(store, "other").close()
    recorder.close()
    EpisodeRecorder(store, "cell").close()


def test_almost_full_disk_is_refused_at_the_start(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell", min_free=1 << 60)
    feed(recorder, messages_of(source))
    [done] = recorder.poll()
    assert not done.ok and "disk almost full" in done.message and not list(store.folder.glob("*.open"))
    recorder.close()


def test_not_to_be_recorded(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell")
    for topic, kind, t, cdr in messages_of(source):
        if kind == m.EVENT:
            event = deserialise(kind, cdr)
            event.metadata = '{"record": false}'
            cdr = serialise(kind, event)
        recorder.offer(topic, kind, t, cdr)
    assert recorder.poll() == [] and store.bags() == []
    recorder.close()


def test_hostile_messages_are_counted_not_raised(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell", clock=Clock())
    messages = messages_of(source)
    recorder.offer("/cell/step", m.STEP, 1, b"\x00\x01\x00\x00abc")
    recorder.offer("/cell/what", "foreign_msgs/msg/What", 1, b"abc")
    feed(recorder, messages)
    [done] = recorder.poll()
    assert done.ok and recorder.unknown_types == {"foreign_msgs/msg/What"}
    event = deserialise(m.EVENT, next(x[3] for x in messages if x[1] == m.EVENT))
    event.episode_id = "../../escape"
    recorder.offer("/cell/episode/event", m.EVENT, 1, serialise(m.EVENT, event))
    [refused] = recorder.poll()
    assert not refused.ok and "not a name" in refused.message
    recorder.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from apprentice_store.episode_recorder import EpisodeRecorder
from apprentice_store.mcap_scan import McapScan
from apprentice_store.store import Store

source, folder = map(Path, sys.argv[1:])
messages = [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(next(source.glob("*.mcap")))]
with Store(folder) as store:
    recorder = EpisodeRecorder(store, "cell", min_free=0, clock=iter(range(100000)).__next__)
    limit = next(source.glob("*.mcap")).stat().st_size * 2 // 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    done = []
    for message in messages:
        recorder.offer(*message)
        done += recorder.poll()
    done += recorder.poll()
    [committed] = done
    assert not committed.ok, committed
    print(committed.message)
    recorder.close()
"""


def test_full_disk_closes_and_marks_the_episode(store, source: Made) -> None:
    env = child_environment()
    run = subprocess.run([sys.executable, "-c", FULL_DISK, source.path, store.folder], capture_output=True, text=True, env=env, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "cannot be written" in run.stdout
    [folder] = store.folder.glob("*.open")
    assert folder.name == f"{source.episode_id}.open" and "cannot be written" in (folder / "FAULT").read_text()
    report = store.check()
    assert [f.code for f in report.findings] == ["torn"] and "cannot be written" in report.findings[0].message and not report.ok
    assert store.repair().recovered == [source.episode_id]
    assert 1 <= len(store.read(source.episode_id)) < 6


KILLED = """
import sys, time
from pathlib import Path
from apprentice_store.episode_recorder import EpisodeRecorder
from apprentice_store.mcap_scan import McapScan
from apprentice_store.store import Store

source, folder = map(Path, sys.argv[1:])
messages = [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(next(source.glob("*.mcap")))]
messages = [x for x in messages if not (x[1].endswith("EpisodeEvent") and x[2] > messages[0][2] and b"end" in x[3][:40])]
first = min(x[2] for x in messages)
with Store(folder) as store:
    recorder = EpisodeRecorder(store, "cell")
    began = time.monotonic()
    for message in sorted(messages, key=lambda x: x[2]):
        while time.monotonic() - began < (message[2] - first) * 1e-9:
            recorder.poll()
            time.sleep(0.005)
        recorder.offer(*message)
        print(message[2] - first, flush=True)
"""


def test_kill_nine_loses_at_most_the_last_second(tmp_path: Path, store) -> None:
    with Store(tmp_path / "source", f"sqlite:///{tmp_path / 'source.sqlite'}") as other:
        made = make_episode(other, steps=40)
    command = [sys.executable, "-c", KILLED, made.path, store.folder]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment())
    assert child.stdout is not None
    fed = 0
    for line in child.stdout:
        fed = int(line)
        if fed >= 2.25e9:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    report = store.check()
    assert [f.code for f in report.findings] == ["torn"]
    repaired = store.repair()
    assert repaired.recovered == [made.episode_id] and repaired.rows == [made.episode_id] and not repaired.hopeless
    assert store.check().ok
    episode = store.read(made.episode_id)
    kept = (episode.stamps["tick"][-1] - episode.stamps["tick"][0]) * 1e-9
    assert kept >= fed * 1e-9 - 1.0, f"kept {kept:.2f} s of {fed * 1e-9:.2f} s"
    assert episode.outcome.reason == "torn" and episode.outcome.truncated and episode.outcome.success is None
    for t in range(len(episode)):
        np.testing.assert_array_equal(episode.observations["camera/front"][t], made.observations[t]["camera/front"])
    assert (store.folder / f"{made.episode_id}.torn").is_dir(), "the original is kept"
    assert store.repair().recovered == []


def test_repair_leaves_a_living_recording_alone(store, source: Made) -> None:
    recorder = EpisodeRecorder(store, "cell")
    feed(recorder, [x for x in messages_of(source) if x[1] != m.EVENT or deserialise(x[1], x[3]).event != "end"])
    recorder.poll()
    assert [f.code for f in store.check().findings] == ["busy"] and store.check().ok
    assert store.repair().recovered == []
    recorder.close()
    assert [f.code for f in store.check().findings] == ["torn"]
