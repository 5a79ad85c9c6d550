from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.episode import Episode, EpisodeOutcome
from apprentice_core.errors import ApprenticeError
from apprentice_learning.online.journal import MemoryJournal, StoreJournal
from apprentice_learning.online.replay import EpisodeRefused, ReplayBuffer, ReplaySampler
from apprentice_learning.testing import PointCell, point_spec
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_store.testing import ROBOT, make_episode

NAMES = ("tool/pose", "goal/position")


class Wanderer:
    """A residual with noise that is known, and sometimes reaches beyond the bounds together."""

    name, needs_privileged, bundle_id = "base+wanderer", False, "w"

    def __init__(self, still: bool = False):
        self.still = still

    def reset(self, context):
        self.rng = np.random.default_rng(context.seed)

    def act(self, observation, segment, privileged=None):
        from apprentice_core.cell import SourceAction

        if self.still:
            return SourceAction(np.zeros(3, np.float32))
        return SourceAction(self.rng.uniform(-1, 1, 3).astype(np.float32), self.rng.normal(0, 0.3, 3).astype(np.float32))

    def observe(self, observation, executed):
        pass


def gather(n: int, base: float = 0.5, still: bool = False, horizon: int = 10, terminal: bool = True) -> list[Episode]:
    journal = MemoryJournal()
    cell = PointCell(Wanderer(still), journal, base=base, horizon=horizon, terminal=terminal)
    for k in range(n):
        cell.run(EpisodeRequest("point", "base+wanderer", ResetRequest(seed=k)))
    return [e.episode for e in journal.after(0)]


def buffer(**changes) -> ReplayBuffer:
    return ReplayBuffer(**({"names": NAMES, "capacity": 1000, "reward": "point/dense"} | changes))


def test_replay_holds_the_residual_with_its_noise_and_the_next_observation():
    """A2: not the executed command; next observation, reward and goal of the same step."""
    episodes = gather(4)
    replay = buffer()
    assert sum(replay.add(e) for e in episodes) == len(replay) == sum(len(e) for e in episodes)
    sampler = ReplaySampler(replay, 64, 0)
    known = {}
    for e in episodes:
        a = e.actions
        assert not np.allclose(a["executed"], a["residual"] + a["noise"], atol=1e-3)
        for t in range(len(e)):
            known[e.observations["tool/pose"][t].tobytes()] = (
                np.clip(a["residual"][t] + a["noise"][t], -1, 1), e.rewards["point/dense"][t], e.discount[t],
                e.observations["tool/pose"][t + 1],
            )
    for _ in range(3):
        b = sampler.sample()
        for i in range(64):
            action, reward, discount, after = known[b.observation["tool/pose"][i].numpy().tobytes()]
            np.testing.assert_array_equal(b.action[i], action)
            np.testing.assert_array_equal(b.next_observation["tool/pose"][i], after)
            assert (b.reward[i].item(), b.discount[i].item()) == (pytest.approx(reward), discount)
        assert np.allclose(b.observation["goal/position"], [0.5, 0.0, 0.2]) and np.abs(b.action).max() <= 1


def test_executed_actions_for_a_learner_without_a_base():
    episodes = gather(2)
    replay = buffer(action="executed")
    for e in episodes:
        replay.add(e)
    np.testing.assert_array_equal(replay.columns["action"][: len(episodes[0])], episodes[0].actions["executed"])


def test_a_true_terminal_ends_and_a_time_limit_does_not():
    (arrived,), (late,) = gather(1, base=1.0, still=True, horizon=30), gather(1, base=0.2, still=True, horizon=3)
    assert arrived.outcome.terminated and not late.outcome.terminated
    replay = buffer()
    replay.add(arrived)
    n = len(arrived)
    assert replay.columns["discount"][n - 1] == 0 and (replay.columns["discount"][: n - 1] == 1).all()
    other = buffer()
    # A recorder that wrote 0 at a time limit must not teach that the world ends there.
    other.add(dataclasses.replace(late, discount=np.array([1, 1, 0], np.float32)))
    assert (other.columns["discount"][:3] == 1).all()


def test_another_base_controller_is_refused():
    """A4: Q(s, residual) means another thing on another base."""
    replay = buffer()
    replay.add(gather(1, base=0.5)[0])
    with pytest.raises(ApprenticeError, match=r"base_hash.*proportional/0.7"):
        replay.add(gather(1, base=0.7)[0])
    assert len(replay) == 10
    with pytest.raises(ApprenticeError, match="base_hash"):
        buffer(base_hash="proportional/9").add(gather(1)[0])
    anyone = buffer(action="executed")
    anyone.add(gather(1, base=0.5)[0])
    anyone.add(gather(1, base=0.7)[0])


@pytest.mark.parametrize(("where", "value"), [
    ("observation", np.nan), ("observation", np.inf), ("residual", np.nan), ("noise", np.inf), ("reward", np.inf), ("goal", np.nan),
])
def test_what_is_not_finite_is_refused_whole(where, value):
    good, bad = gather(2)
    if where == "observation":
        bad.observations["tool/pose"][3, 1] = value
    elif where == "reward":
        bad.rewards["point/dense"][2] = value
    elif where == "goal":
        bad.segments[0].goal["position"] = np.array([0, value, 0], np.float32)
    else:
        bad.actions[where][4, 0] = value
    replay = buffer()
    replay.add(good)
    with pytest.raises(EpisodeRefused, match="NaN or infinity"):
        replay.add(bad)
    assert len(replay) == len(good) and all(np.isfinite(c[: len(good) + 1]).all() for c in replay.columns.values())


def test_steps_of_another_driver_and_steps_without_reward_are_left_out():
    (episode,) = gather(1)
    episode.actions["mixed"][2:5] += 0.3  # somebody took over
    episode.rewards["point/dense"][7] = np.nan
    replay = buffer()
    assert replay.add(episode) == 6
    assert replay.starts.tolist() == [0, 1, 5, 6, 8, 9]
    episode.actions["mixed"][:] += 0.3
    with pytest.raises(EpisodeRefused, match="driven"):
        replay.add(episode)
    with pytest.raises(EpisodeRefused, match=r"no reward.*point/dense"):
        buffer(reward="point/shaped").add(gather(1)[0])
    with pytest.raises(EpisodeRefused, match="lacks depth"):
        buffer(names=("goal/depth",)).add(gather(1)[0])


def test_the_ring_forgets_the_oldest_and_never_joins_two_episodes():
    episodes = gather(9)
    replay = buffer(capacity=40)
    for e in episodes:
        replay.add(e)
        assert len(replay) <= 40
    poses = replay.columns["tool/pose"][:, :3]
    for row in replay.starts:
        step = np.linalg.norm(poses[replay.after(np.array([row]))[0]] - poses[row])
        assert step <= 0.01 * np.sqrt(3) + 1e-6  # two episodes' ends lie centimetres apart
    kept = {e.observations["tool/pose"][t].tobytes() for e in episodes[-3:] for t in range(len(e))}
    held = {replay.columns["tool/pose"][r].tobytes() for r in replay.starts}
    assert kept <= held
    assert not held & {episodes[0].observations["tool/pose"][t].tobytes() for t in range(10)}
    with pytest.raises(EpisodeRefused, match="do not fit"):
        buffer(capacity=5).add(episodes[0])


def test_sampling_is_decided_by_seed_and_state():
    replay = buffer()
    for e in gather(3):
        replay.add(e)
    one, same, other = ReplaySampler(replay, 8, 5), ReplaySampler(replay, 8, 5), ReplaySampler(replay, 8, 6)
    first = one.sample().action.clone()
    assert np.array_equal(first, same.sample().action) and not np.array_equal(first, other.sample().action)
    state = one.state
    second = one.sample().action.clone()
    other.state = state
    assert np.array_equal(second, other.sample().action)
    with pytest.raises(ApprenticeError, match="no transition"):
        ReplaySampler(buffer(), 4, 0).sample()


def test_prior_data_come_on_top_of_the_replay():
    """[T5]: N_D demonstrations on top of the N replayed."""
    replay, prior = buffer(), buffer()
    replay.add(gather(1)[0])
    prior.add(gather(1, still=True)[0])
    b = ReplaySampler(replay, 12, 0, prior, 4).sample()
    assert len(b) == 16 and b.prior.tolist() == [0.0] * 12 + [1.0] * 4
    assert b.action[:12].abs().sum(1).min() > 0 and not b.action[12:].any()


def test_frames_are_kept_through_the_box_filter():
    (episode,) = gather(1)
    frames = np.random.default_rng(0).integers(0, 255, (len(episode) + 1, 64, 64, 3), dtype=np.uint8)
    episode.observations["camera/side"] = frames
    replay = buffer(names=("camera/side",), reduction=2)
    replay.add(episode)
    assert replay.columns["camera/side"].shape[1:] == (32, 32, 3)
    assert abs(int(replay.columns["camera/side"][0, 0, 0, 0]) - frames[0, :2, :2, 0].mean()) <= 0.5


# ---- journals ----

def test_both_journals_give_the_same_episodes(tmp_path):
    """What goes through bags on disk is what stays in memory, bit for bit."""
    memory = MemoryJournal()
    with Store(tmp_path) as store:
        for sink in (memory, BagSink(store, ROBOT)):
            cell = PointCell(Wanderer(), sink, base=0.5)
            for seed in range(3):
                cell.run(EpisodeRequest("point", "base+wanderer", ResetRequest(seed=seed)))
        stored = StoreJournal(store)
        pairs = list(zip(memory.after(0), stored.after(0), strict=True))
        assert len(pairs) == 3 and stored.position >= pairs[-1][1].position
        for a, b in pairs:
            x, y = a.episode, b.episode
            assert a.episode_id == b.episode_id
            for field in ("observations", "actions", "rewards", "privileged"):
                left, right = getattr(x, field), getattr(y, field)
                assert left.keys() == right.keys()
                for k in left:
                    np.testing.assert_array_equal(left[k], right[k], err_msg=f"{field} {k}")
            np.testing.assert_array_equal(x.discount, y.discount)
            np.testing.assert_array_equal(x.stamps["tick"], y.stamps["tick"])
            np.testing.assert_array_equal(x.segments[0].goal["position"], y.segments[0].goal["position"])
            assert x.outcome == y.outcome and x.meta["metadata"] == y.meta["metadata"] and x.actors == y.actors and x.digests == y.digests
            assert {k: y.meta[k] for k in x.meta if k not in ("metadata", "duration")} == {
                k: v for k, v in x.meta.items() if k not in ("metadata", "duration")}


def test_store_journal_goes_by_commit_and_not_by_start(tmp_path):
    with Store(tmp_path) as store:
        first = make_episode(store, seed=1)
        resets = StoreJournal(store, "kind = 'episode' and source = 'teleop'")
        journal = StoreJournal(store)
        entries = list(journal.after(0))
        assert [e.episode_id for e in entries] == [first.episode_id]
        second, third = make_episode(store, seed=2, source="teleop"), make_episode(store, seed=3)
        store.hide(third.episode_id)
        news = list(journal.after(entries[-1].position))
        assert [e.episode_id for e in news] == [second.episode_id, third.episode_id]
        assert news[0].position < news[1].position <= journal.position
        assert [e.episode_id for e in resets.after(0)] == [second.episode_id]
        assert not list(journal.after(journal.position))
        bag = next(store.path(second.episode_id).glob("*.mcap"))
        bag.write_bytes(bag.read_bytes()[:200])
        assert [e.episode is None for e in journal.after(0)] == [False, True, False]


def test_memory_journal_commits_at_the_end_alone():
    journal = MemoryJournal(("tool/pose",))
    cell = PointCell(Wanderer(), journal)
    cell.run(EpisodeRequest("point", "w", ResetRequest(seed=0)))
    assert journal.position == 1 and set(next(journal.after(0)).episode.observations) == {"tool/pose"}
    from apprentice_core.episode import EpisodeContext

    journal.start(EpisodeContext("x", "point"), point_spec())
    journal.abort("interrupted")
    assert journal.position == 1
    with pytest.raises(ApprenticeError, match="no episode"):
        journal.end({}, EpisodeOutcome(False, True, "horizon"), 0.0)
    journal.start(EpisodeContext("x", "point", kind="reset"), point_spec())
    journal.end(cell.observation(cell.goal), EpisodeOutcome(False, True, "done"), 0.0)
    assert journal.position == 1
