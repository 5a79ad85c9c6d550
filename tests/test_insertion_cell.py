"""The cell of insertion.launch.xml as processes: a base controller with a residual of zeros inserts, and the bag says how."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.paths import share_dir
from apprentice_store.bag_reader import read_episode
from apprentice_store.evaluations import Evaluations, checks
from apprentice_store.store import Store
from apprentice_workflows.launch_files.parser import parse_launch
from apprentice_workflows.launch_files.plan import format_value
from apprentice_workflows.trials import protocol_of, run_trials

pytestmark = pytest.mark.timeout(120)
GOAL, START = [0.6, 0.0, 0.07], [0.6, 0.0, 0.12]
METADATA = {"goal": {"position": GOAL}, "start": {"tool": START}}


def start_launch_file(processes, **arguments: str) -> None:
    plan = parse_launch(share_dir() / "launch" / "insertion.launch.xml", {"data": str(processes.data), **arguments})
    for node in plan.nodes:
        processes.start(node.executable, node.name, **{k: format_value(v) for k, v in node.parameters})


def trials_of_the_launched_cell(processes, cell) -> None:
    """`apprentice trials` over the nodes: the goal is off by a millimetre, a person judges, the poses are asked beside (A27, A28)."""
    _, protocol = protocol_of("insert_usb", "", "", "", False)
    with Store(processes.data) as store:
        book = Evaluations(store.catalogue)
        plan = book.create("insert_usb", ["p_controller"], [("noisy", "noisy/3")], False, 0, "u1")
        said = lambda trial: book.judge(plan.evaluation_id, trial.number, True, "u1")  # noqa: E731
        done = run_trials(book, plan.evaluation_id, lambda bundle: nullcontext(cell), 3, True, said, protocol=protocol, store=store)
        [(_, ref)] = list(done)
        told, check = book.get(plan.evaluation_id), checks(store.catalogue, book.get(plan.evaluation_id))[0]
        assert told.results[0].success is True and told.results[0].episode_id == ref.episode_id and told.interventions == 0
        assert check.by == "poses" and check.success is False, "three steps bring nothing in, whatever the person says"
        commanded = read_episode(Path(ref.path)).segments[0].goal["position"]
    np.testing.assert_allclose(np.abs(commanded - GOAL), [1e-3, 1e-3, 0.0], atol=1e-6)


def test_a_zero_residual_is_the_base_and_the_plug_goes_in(processes, ros) -> None:
    start_launch_file(processes, cameras="none", sim="false", residual="false")
    processes.start(
        "scripted_node", "zero", cell="sawyer_insertion", task="insert_usb", script="null_controller", source="residual", pace="lockstep"
    )
    cell = ros()
    ref = cell.run(EpisodeRequest("insert_usb", "p_controller+residual", ResetRequest("full", seed=1), steps=40, metadata=METADATA))
    assert ref.truncated and ref.lost == 0, ref
    episode = read_episode(Path(ref.path))
    actions = episode.actions
    assert actions["mixed"].tobytes() == actions["base"].tobytes() and actions["base"].any()
    assert not actions["residual"].any() and not actions["noise"].any()
    np.testing.assert_allclose(episode.segments[0].goal["position"], GOAL, atol=1e-6)
    tool = episode.observations["tool/pose"][:, :3]
    np.testing.assert_allclose(tool[0], START, atol=2e-3)
    assert np.abs(episode.observations["wrist/wrench"][0, :3]).max() < 0.5, "tared before the episode (B13)"
    connected = episode.observations["connection/connected"][:, 0]
    assert connected[0] == 0.0
    np.testing.assert_array_equal(episode.rewards["electrical/sparse"], connected[1:])
    assert ref.success == bool((episode.rewards["electrical/sparse"] == 1).any() or (episode.rewards["scripted/sparse"] == 1).any())
    assert tool[-1, 2] < GOAL[2] + 0.012, "the P-controller brings the plug at least into the mouth of the socket"
    # The next one starts in the socket: the plug is drawn out, and the grip is as it was.
    again = cell.run(EpisodeRequest("insert_usb", "p_controller", ResetRequest("robot", seed=2), steps=3, metadata=METADATA))
    assert again.steps == 3, again
    np.testing.assert_allclose(read_episode(Path(again.path)).observations["tool/pose"][0, :3], START, atol=2e-3)
    trials_of_the_launched_cell(processes, cell)
    refused = cell.run(EpisodeRequest(
        "insert_usb", "p_controller", ResetRequest("none"), steps=3, metadata={**METADATA, "base_hash": "PController/another"},
    ))
    assert refused.steps <= 1, "a controller that is not the one of the buffer moves nothing"
