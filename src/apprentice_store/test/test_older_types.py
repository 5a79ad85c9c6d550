"""Bags whose message types had another definition when they were recorded."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from apprentice_core.errors import BagError
from apprentice_store import messages as m
from apprentice_store.bag_reader import digest_mismatches, read_episode
from apprentice_store.bag_writer import OPEN, BagWriter
from apprentice_store.mcap_scan import McapScan
from apprentice_store.store_check import recover
from apprentice_store.testing import make_episode
from apprentice_store.typestore import definition, deserialise, type_hash


def record_as(made: Any, monkeypatch: pytest.MonkeyPatch, msgtype: str, text: str, change: Any, told: str = "") -> None:
    """Writes the bag anew with `text` as the definition of `msgtype`; `change(values)` makes that type's fields of today's.
    `told`: a hash to claim instead of its own."""
    older = get_typestore(Stores.ROS2_JAZZY)
    types = get_types_from_msg(text, msgtype)
    older.register({k: v for k, v in types.items() if k not in older.types})
    own = told or older.hash_rihs01(msgtype)
    monkeypatch.setattr("apprentice_store.bag_writer.definition", lambda t: text if t == msgtype else definition(t))
    monkeypatch.setattr("apprentice_store.bag_writer.type_hash", lambda t: own if t == msgtype else type_hash(t))
    file = next(made.path.glob("*.mcap"))
    messages = [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(file)]
    shutil.rmtree(made.path)
    writer = BagWriter(made.path.parent, made.path.name)
    for topic, kind, t, cdr in messages:
        if topic not in writer:
            writer.add_topic(topic, kind)
        if kind == msgtype:
            values = change({k: v for k, v in vars(deserialise(kind, cdr)).items() if not k.startswith("_")})
            cdr = bytes(older.serialize_cdr(older.types[msgtype](**values), msgtype))
        writer.write(topic, t, cdr)
    writer.commit()


def without(*names: str) -> Any:
    return lambda values: {k: v for k, v in values.items() if k not in names}


def lines_without(msgtype: str, *fields: str) -> str:
    pattern = re.compile(rf"^[\w/\[\]]+ ({'|'.join(fields)})$", re.MULTILINE)
    text = pattern.sub("", definition(msgtype))
    assert text != definition(msgtype)
    return text


def test_fields_that_came_later_are_empty_and_all_else_is_as_it_was(store, monkeypatch) -> None:
    """Bags of before 1 December name the parts of an observation in their ticks and carry none."""
    made = make_episode(store)
    before = read_episode(made.path)
    record_as(made, monkeypatch, m.TICK, lines_without(m.TICK, "carried"), without("carried"))
    after = read_episode(made.path)
    assert digest_mismatches(after) == [] and {**after.meta, "hash": ""} == {**before.meta, "hash": ""}
    for name, array in before.observations.items():
        assert np.array_equal(array, after.observations[name]), name
    assert all(np.array_equal(before.actions[k], after.actions[k]) for k in before.actions)


def test_a_field_that_is_gone_is_left_behind(store, monkeypatch) -> None:
    made = make_episode(store)
    text = definition(m.STEP).replace("\n", "\nfloat64 forgotten\n", 1)
    record_as(made, monkeypatch, m.STEP, text, lambda values: {**values, "forgotten": 1.0})
    assert len(read_episode(made.path)) == 5


def test_a_field_of_another_type_is_refused_by_name(store, monkeypatch) -> None:
    made = make_episode(store)
    text = re.sub(r"^float32 discount$", "float64 discount", definition(m.STEP), flags=re.MULTILINE)
    assert text != definition(m.STEP)
    record_as(made, monkeypatch, m.STEP, text, lambda values: values)
    with pytest.raises(BagError, match=r"Step\.discount was recorded as another type"):
        read_episode(made.path)


def test_a_definition_that_is_not_what_its_hash_says_is_refused(store, monkeypatch) -> None:
    made = make_episode(store)
    record_as(made, monkeypatch, m.TICK, lines_without(m.TICK, "carried"), without("carried"), told="RIHS01_" + "0" * 64)
    with pytest.raises(BagError, match="not defined as its hash says"):
        read_episode(made.path)


@pytest.mark.parametrize("text", ["", "float64 x y z", "Tick self", "x" * 100_000, "import os"])
def test_what_is_no_definition_is_refused(store, monkeypatch, text: str) -> None:
    made = make_episode(store)
    file = next(made.path.glob("*.mcap"))
    monkeypatch.setattr("apprentice_store.bag_writer.definition", lambda t: text if t == m.TICK else definition(t))
    monkeypatch.setattr("apprentice_store.bag_writer.type_hash", lambda t: "RIHS01_other" if t == m.TICK else type_hash(t))
    messages = [(c.topic, c.type, t, bytes(b)) for c, t, b in McapScan(file)]
    shutil.rmtree(made.path)
    writer = BagWriter(made.path.parent, made.path.name)
    for topic, kind, t, cdr in messages:
        if topic not in writer:
            writer.add_topic(topic, kind)
        writer.write(topic, t, cdr)
    writer.commit()
    with pytest.raises(BagError, match="Tick was recorded in another version") as caught:
        read_episode(made.path)
    assert "\n" not in str(caught.value)


def test_repair_writes_a_torn_bag_of_older_types_by_todays(store, monkeypatch) -> None:
    made = make_episode(store)
    record_as(made, monkeypatch, m.TICK, lines_without(m.TICK, "carried"), without("carried"))
    monkeypatch.undo()
    torn = Path(made.path.rename(made.path.with_name(made.path.name + OPEN)))
    (torn / "metadata.yaml").unlink()
    repaired = recover(torn)
    assert len(read_episode(repaired)) == 5
    kinds = {c.type: c.metadata["topic_type_hash"] for c, _, _ in McapScan(next(repaired.glob("*.mcap")))}
    assert kinds[m.TICK] == type_hash(m.TICK)
