from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, BundleError, ConfigError
from apprentice_learning.bundles import read_policy, write_policy
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.online.journal import MemoryJournal, StoreJournal
from apprentice_learning.online.loop import BUNDLES, OnlineTrainer
from apprentice_learning.online.practise import NewestPolicy, acting_of, practise
from apprentice_learning.online.train import online_specs, train_online
from apprentice_learning.runner import PolicyRunner
from apprentice_learning.testing import PointCell, point_spec
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_store.testing import ROBOT, child_environment

SPECS = online_specs(point_spec(), {"position": 3})
SETTINGS = {
    "td3": {"critic_only_updates": 20, "actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3, "gamma": 0.9},
    "sac": {"learning_rate": 3e-3, "gamma": 0.9, "initial_temperature": 0.1}, "iql": {"expectile": 0.8},
}


def make_config(algorithm: str = "td3", **changes) -> OnlineConfig:
    settings = changes.pop("settings", {})
    return OnlineConfig.model_validate({
        "name": "test", "steps": 90, "batch": 16, "warmup": 40, "reward": "point/dense", "checkpoint_every": 3,
        "learner": {"algorithm": algorithm, "settings": SETTINGS[algorithm] | settings},
        "network": {"proprio": ["tool/pose[0:3]", "goal/position"], "proprio_embedding": 0, "hidden": [24, 24]},
        "exploration": {"noise": 0.0, "sample": True} if algorithm == "sac" else {"noise": 0.2},
    } | changes)


def request(number: int, metadata: dict) -> EpisodeRequest:
    return EpisodeRequest("point", "base+policy", ResetRequest(seed=number), metadata=metadata)


def make(folder: Path, config: OnlineConfig | None = None, journal=None, **cell) -> tuple[OnlineTrainer, PointCell]:
    journal = MemoryJournal() if journal is None else journal
    trainer = OnlineTrainer(config or make_config(), SPECS, point_spec().action_space, journal, folder)
    sink = BagSink(journal.store, ROBOT) if isinstance(journal, StoreJournal) else journal
    return trainer, PointCell(NewestPolicy(folder / BUNDLES), sink, **{"base": 0.5, **cell})


def start(part: str, folder: Path, *arguments: int) -> subprocess.Popen:
    """One of PARTS in a process of its own: started anew, since a fork would hold the locks of threads that it does not have."""
    return subprocess.Popen([sys.executable, __file__, part, str(folder), *map(str, arguments)], env=child_environment())


def equal(a: OnlineTrainer, b: OnlineTrainer) -> bool:
    x, y = a.learner.state_dict(), b.learner.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("algorithm", ["td3", "sac", "iql"])
def test_one_loop_for_every_learner(algorithm, tmp_path):
    """Swapping the learner is one word; updates are as many as the committed steps after the warm-up."""
    trainer, cell = make(tmp_path, make_config(algorithm))
    result = practise(trainer, cell, request)
    assert result.steps >= 90 and not result.stopped
    told = lines(tmp_path)
    assert [x["step"] for x in told] == list(range(1, trainer.episodes + 1))
    first = next(i for i, x in enumerate(told) if x["env_steps"] >= 40)
    assert trainer.updates == told[-1]["updates"] == sum(x["episode/steps"] for x in told[first + 1 :])
    assert {"episode/return", "episode/success", "episode/saturated", "samples_per_s"} <= told[-1].keys()
    assert any(k.startswith("train/critic_loss") for k in told[-1])
    assert read_lineage(result.bundle)["base_hash"] == "proportional/0.5"


def read_lineage(bundle: Path) -> dict:
    return json.loads((bundle / "bundle.json").read_text())["lineage"]


def test_the_first_residual_leaves_the_base_alone(tmp_path):
    """A9: with the first bundle and no exploration an episode is the base's, to the bit."""
    trainer, _ = make(tmp_path)
    trainer.export()
    journals = []
    for source in (NewestPolicy(tmp_path / BUNDLES), None):
        journals.append(MemoryJournal())
        if source is None:
            class Nothing(NewestPolicy):
                bundle_id = ""

                def reset(self, context):
                    pass

                def act(self, observation, segment, privileged=None):
                    from apprentice_core.cell import SourceAction

                    return SourceAction(np.zeros(3, np.float32))
            source = Nothing(tmp_path)
        PointCell(source, journals[-1], base=0.5).run(request(3, {"deterministic": True}))
    a, b = (next(j.after(0)).episode for j in journals)
    assert not a.actions["residual"].any() and not a.actions["noise"].any()
    np.testing.assert_array_equal(a.observations["tool/pose"], b.observations["tool/pose"])


def test_warm_up_is_uniform_and_its_record_adds_up(tmp_path):
    trainer, cell = make(tmp_path, make_config(steps=80, warmup=200))
    assert trainer.acting["exploration"] == "uniform"
    practise(trainer, cell, request)
    assert trainer.updates == 0
    u = np.concatenate([e.episode.actions["residual"] + e.episode.actions["noise"] for e in trainer.journal.after(0)])
    assert np.abs(u).max() <= 1 and u.std(axis=0) == pytest.approx([0.577] * 3, abs=0.1)
    np.testing.assert_allclose(trainer.replay.columns["action"][trainer.replay.starts], u, atol=1e-6)


def test_a_residual_learns_what_its_base_does_not_know(tmp_path):
    """The base does not know of a constant pull of 0.6 (6 mm a step); the residual has to take it away, and the pull's return with it."""
    config = make_config("td3", steps=500, batch=32, warmup=100)
    bias = (0.6, -0.6, 0.6)
    trainer, cell = make(tmp_path, config, bias=bias, terminal=False)

    def score(source: NewestPolicy | PolicyRunner) -> float:
        journal = MemoryJournal()
        test = PointCell(source, journal, base=0.5, bias=bias, terminal=False)
        for n in range(10):
            test.run(request(10_000 + n, {"deterministic": True}))
        return float(np.mean([e.episode.rewards["point/dense"].sum() for e in journal.after(0)]))

    alone = score(PolicyRunner(trainer.export()))
    result = practise(trainer, cell, request)
    assert score(PolicyRunner(result.bundle)) > 0.75 * alone  # returns are negative: a quarter of the loss is gone
    told = lines(tmp_path)
    assert np.mean([x["episode/return"] for x in told[-10:]]) > np.mean([x["episode/return"] for x in told[:10]])


def test_killed_between_episodes_and_resumed_to_the_bit(tmp_path):
    """kill -9 right after a commit: before the first checkpoint, and between two. The store keeps every transition, and actor and learner
    (SAC: it draws the most dice) go on as if nothing had been."""
    config = make_config(**KILLED)

    def unbroken(folder: Path) -> OnlineTrainer:
        with Store(folder / "bags") as store:
            trainer, cell = make(folder / "run", config, StoreJournal(store))
            practise(trainer, cell, request)
            return trainer

    whole = unbroken(tmp_path / "whole")
    for kill_after in (2, 6):
        folder = tmp_path / f"killed{kill_after}"
        assert start("killed", folder, kill_after).wait() == -signal.SIGKILL
        with Store(folder / "bags") as store:
            trainer, cell = make(folder / "run", config, StoreJournal(store))
            assert trainer.resume() == (kill_after > 3)
            cell.episodes = kill_after
            practise(trainer, cell, request)
            assert len(store.episodes()) == trainer.episodes == whole.episodes
        assert equal(whole, trainer), kill_after
        assert [x["step"] for x in lines(folder / "run")] == list(range(1, whole.episodes + 1))


def test_when_the_trainer_looks_makes_no_difference(tmp_path):
    """One look an episode, or one at the end: a trainer in its own process is late, and learns the same."""
    journal = MemoryJournal()
    config = make_config(steps=120)
    trainer, cell = make(tmp_path / "a", config, journal)
    trainer.export()
    for n in range(12):
        cell.run(request(n, {"exploration": "uniform"}))
        torch.rand(3)  # somebody else draws from torch's global state
        trainer.advance()
    late = OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "b")
    assert late.advance() == 12 and equal(trainer, late)
    assert trainer.export().name == late.export().name == "step_000000120"


def test_stopped_in_the_middle_of_an_episodes_updates(tmp_path):
    journal, config = MemoryJournal(), make_config(steps=200)
    whole, cell = make(tmp_path / "whole", config, journal)
    whole.export()
    cell.source = NewestPolicy(tmp_path / "whole" / BUNDLES)
    for n in range(15):
        cell.run(request(n, {"exploration": "uniform"}))
    whole.advance()
    parts, _ = make(tmp_path / "parts", config, journal)
    update, counted = parts.learner.update, []

    def counting(batch):
        counted.append(1)
        if len(counted) == 33:
            parts.stop()
        return update(batch)

    parts.learner.update = counting
    with parts.running():
        parts.advance()
    assert parts.updates == 33 and not equal(whole, parts)
    rest, _ = make(tmp_path / "parts", config, journal)
    assert rest.resume() and rest.updates == 33
    rest.advance()
    assert rest.updates == whole.updates and equal(whole, rest)


def test_what_a_checkpoint_refuses(tmp_path):
    trainer, cell = make(tmp_path)
    practise(trainer, cell, request)
    journal = trainer.journal
    with pytest.raises(ApprenticeError, match="another config"):
        make(tmp_path, make_config(batch=17), journal)[0].resume()
    other = OnlineTrainer(make_config(), SPECS, point_spec().action_space, journal, tmp_path, base_hash="proportional/9")
    with pytest.raises(ApprenticeError, match=r"base_hash.*proportional/0.5.*proportional/9"):
        other.resume()
    shorter = MemoryJournal()
    shorter.entries = journal.entries[1:]
    with pytest.raises(ApprenticeError, match="no longer holds"):
        make(tmp_path, make_config(), shorter)[0].resume()
    assert not make(tmp_path / "new")[0].resume()


def test_a_base_that_changes_under_the_run_stops_it(tmp_path):
    trainer, cell = make(tmp_path)
    trainer.export()
    cell.run(request(0, {}))
    cell.base = 0.7
    cell.run(request(1, {}))
    with pytest.raises(ApprenticeError, match="base_hash"):
        trainer.advance()
    assert trainer.episodes == 1


def test_a_bad_episode_is_refused_and_counted_and_the_run_goes_on(tmp_path):
    trainer, cell = make(tmp_path, make_config(steps=60))
    trainer.export()
    for n in range(3):
        cell.run(request(n, {"exploration": "uniform"}))
    next(trainer.journal.after(1)).episode.observations["tool/pose"][2] = np.nan
    trainer.advance()
    assert (trainer.episodes, trainer.refused, trainer.steps) == (3, 1, 20)
    assert all(np.isfinite(c).all() for c in trainer.replay.columns.values())
    trainer.save()
    again, _ = make(tmp_path, make_config(steps=60), trainer.journal)
    assert again.resume() and again.refused == 1 and len(again.replay) == len(trainer.replay)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    trainer, cell = make(tmp_path, make_config(reward_scale=1e36))
    with pytest.raises(FloatingPointError, match="not finite"):
        practise(trainer, cell, request)


def test_bundles_are_few_and_swapped_between_episodes(tmp_path):
    """X11: what is exported during an episode acts from the next one on."""
    trainer, _ = make(tmp_path)
    trainer.export()
    source = NewestPolicy(tmp_path / BUNDLES, point_spec().action_space)
    with pytest.raises(ApprenticeError, match="before an episode"):
        source.act({}, Segment())
    source.reset(EpisodeContext("01", "point", seed=1))
    old = source.bundle_id
    for step in (10, 20, 30):
        trainer.steps = step
        trainer.export()
    assert source.bundle_id == old
    source.reset(EpisodeContext("02", "point", seed=1))
    assert source.bundle_id != old
    assert [p.name for p in checkpoints(tmp_path / BUNDLES)] == [f"step_{s:09d}" for s in (10, 20, 30)]
    with pytest.raises(ApprenticeError, match="no policy bundle"):
        NewestPolicy(tmp_path / "none").reset(EpisodeContext("03", "point"))


def test_demonstrations_in_every_batch(tmp_path):
    """RL + LfD: executed actions, 8 demonstrated transitions on top of 16, for actor and critics."""
    demonstrations = MemoryJournal()
    zero, _ = make(tmp_path / "zero")
    zero.export()
    teacher = PointCell(NewestPolicy(tmp_path / "zero" / BUNDLES), demonstrations, base=1.0)
    for n in range(4):
        teacher.run(request(500 + n, {}))
    config = make_config(action="executed", prior_batch=8, settings={"cloning_weight": 0.125, "q_weight": 1e-3, "zero_init": False})
    journal = MemoryJournal()
    trainer = OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "run", prior=demonstrations)
    cell = PointCell(NewestPolicy(tmp_path / "run" / BUNDLES), journal, base=0.0)
    practise(trainer, cell, request)
    assert len(trainer.sampler.sample()) == 24 and any("train/cloning_loss" in x for x in lines(tmp_path / "run"))
    again = OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "run", prior=demonstrations)
    assert again.resume() and len(again.prior) == len(trainer.prior)
    with pytest.raises(ApprenticeError, match="prior_batch"):
        OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "x")


def test_a_residual_may_read_object_poses_of_a_simulation(tmp_path):
    """A5: pi_theta reads robot and object state; whoever drives has to be allowed to."""
    config = make_config(network={"proprio": ["tool/pose[0:3]", "tracked/object/plug/pose[0:3]"], "proprio_embedding": 0, "hidden": [8]})
    journal = MemoryJournal()
    specs = online_specs(point_spec(), {}, tracked=True)
    trainer = OnlineTrainer(config, specs, point_spec().action_space, journal, tmp_path)
    practise(trainer, PointCell(NewestPolicy(tmp_path / BUNDLES, allow_tracked=True), journal, base=0.5), request)
    held = trainer.replay.columns
    np.testing.assert_array_equal(held["tracked/object/plug/pose"][:, :3], held["tool/pose"][:, :3])
    plain = NewestPolicy(tmp_path / BUNDLES)
    plain.reset(EpisodeContext("x", "point"))
    with pytest.raises(ValueError, match="lacks tracked/object/plug/pose"):
        plain.act({"tool/pose": np.zeros(7, np.float32)}, Segment())
    with pytest.raises(ConfigError, match="no array"):
        OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "x")


def test_a_simulated_policy_starts_a_residual(tmp_path):
    """A21."""
    trainer, cell = make(tmp_path / "sim")
    practise(trainer, cell, request)
    fresh, _ = make(tmp_path / "real")
    fresh.initialise(checkpoints(tmp_path / "sim" / "checkpoints")[-1])
    assert equal(trainer, fresh) and fresh.steps == 0
    narrow = OnlineTrainer(make_config(network={"proprio": ["tool/pose"], "hidden": [8]}), SPECS, point_spec().action_space,
                           MemoryJournal(), tmp_path / "narrow")
    with pytest.raises(ApprenticeError, match="does not fit the learner"):
        narrow.initialise(checkpoints(tmp_path / "sim" / "checkpoints")[-1])


def test_the_trainer_as_a_process_over_a_store(tmp_path):
    """Actors commit, the trainer follows and exports; it starts from the prior part of the same folder where told so."""
    zero, _ = make(tmp_path / "zero")
    zero.export()
    trainer = start("follow", tmp_path)
    with Store(tmp_path / "bags") as store:
        cell = PointCell(NewestPolicy(tmp_path / "zero" / BUNDLES), BagSink(store, ROBOT), base=0.5)
        for n in range(8):
            cell.run(request(n, {"exploration": "uniform"}))
        assert sum(row.steps for row in store.episodes()) >= FOLLOWED["steps"]
    assert trainer.wait() == 0
    newest = checkpoints(tmp_path / "run" / BUNDLES)[-1]
    assert read_lineage(newest)["env_steps"] >= 60 and lines(tmp_path / "run")[-1]["updates"] > 0
    PolicyRunner(newest, point_spec().action_space)
    first = checkpoints(tmp_path / "zero" / BUNDLES)[-1]
    assert acting_of(first)["exploration"] == "uniform" and acting_of(newest) == {"exploration_noise": 0.2, "deterministic": True}
    write_policy(tmp_path / "other", read_policy(newest)[1], name="o", algorithm="td3", config={"acting": {"exploration": [1]}})
    with pytest.raises(BundleError, match=r"config\.acting"):
        acting_of(tmp_path / "other")


def test_iql_goes_on_from_offline_data_at_a_quarter_online(tmp_path):
    """The offline phase's weights, then batches of exactly 25 % online and 75 % offline transitions, in the same loop."""
    offline, journal = MemoryJournal(), MemoryJournal()
    zero, _ = make(tmp_path / "zero")
    zero.export()
    for n in range(4):
        PointCell(NewestPolicy(tmp_path / "zero" / BUNDLES), offline, base=0.5).run(request(n, {"exploration": "uniform"}))
    config = make_config("iql", batch=8, prior_batch=24)
    trained, cell = make(tmp_path / "offline", make_config("iql"), offline)
    trained.advance()
    trained.save()
    trainer = OnlineTrainer(config, SPECS, point_spec().action_space, journal, tmp_path / "run", prior=offline)
    trainer.initialise(checkpoints(tmp_path / "offline" / "checkpoints")[-1])
    assert equal(trained, trainer)
    cell = PointCell(NewestPolicy(tmp_path / "run" / BUNDLES), journal, base=0.5)
    practise(trainer, cell, request)
    assert trainer.sampler.sample().prior.tolist() == [0.0] * 8 + [1.0] * 24
    assert trainer.updates > 0 and not equal(trained, trainer)


@pytest.mark.parametrize("name", ["td3_residual", "sac_residual", "sac_residual_images", "td3_demos"])
def test_shipped_configs_load(name):
    config = load_online_config(name)
    assert config.name == name and config.learner.algorithm == name.split("_")[0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"learner": {"algorithm": "bc"}}, "does not learn online"), ({"settings": {"cloning_weight": 0.1}}, "prior_batch"),
    ({"network": {"proprio": ["tool/pose[3:1]"]}}, "takes no number"), ({"network": {"proprio": ["tool/pose[0]"]}}, "neither"),
    ({"learner": {"algorithm": "td3", "settings": {"smoothing": "none"}}}, "smoothing"),
])
def test_wrong_configs_are_refused_with_the_field(changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_slices_out_of_range_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tool/pose\[5:9\].*7 numbers"):
        make(tmp_path, make_config(network={"proprio": ["tool/pose[5:9]"]}))


KILLED = {"algorithm": "sac", "steps": 80, "checkpoint_every": 3}
FOLLOWED = {"steps": 60}


def killed(folder: Path, kill_after: str) -> None:
    with Store(folder / "bags") as store:
        trainer, cell = make(folder / "run", make_config(**KILLED), StoreJournal(store))
        cell.on_end = lambda episodes: os.kill(os.getpid(), signal.SIGKILL) if episodes == int(kill_after) else None
        practise(trainer, cell, request)


def follow(folder: Path) -> None:
    train_online(make_config(**FOLLOWED), folder / "bags", folder / "run", point_spec(), goals={"position": 3}, poll=0.05)


PARTS = {"killed": killed, "follow": follow}

if __name__ == "__main__":
    torch.set_num_threads(1)
    PARTS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
