"""`store check` says what is wrong in a data folder; `store repair` mends what can be mended and deletes nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from apprentice_core.errors import BagError
from apprentice_store import messages as m
from apprentice_store.bag_metadata import TopicQos, bag_file, read_metadata
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.bag_writer import FAULT, OPEN, TORN, BagWriter
from apprentice_store.mcap_file import file_hash
from apprentice_store.mcap_scan import McapScan, ScannedChannel
from apprentice_store.older_types import Rewrite, rewriter
from apprentice_store.typestore import deserialise, known

if TYPE_CHECKING:
    from apprentice_store.store import Store


@dataclass(frozen=True)
class Finding:
    """`code`: torn, busy, damaged, foreign, hash, missing_row, missing_bag."""

    code: str
    name: str
    message: str


@dataclass
class CheckReport:
    """What `check` found; `ok` when nothing is wrong with what is ours."""

    checked: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(f.code not in ("busy", "foreign") for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Stable: it is `store check --json`."""
        return {"ok": self.ok, "checked": self.checked, "findings": [vars(f) for f in self.findings]}


@dataclass
class RepairReport:
    """Episodes recovered from torn bags, rows made from bags, and what could not be mended."""

    recovered: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    hopeless: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"recovered": self.recovered, "rows": self.rows, "hopeless": [vars(f) for f in self.hopeless]}


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Holds an `.open` folder; False when a living recorder holds it (writers lock their folder, and a lock dies with its process)."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def committed_bags(folder: Path) -> list[Path]:
    """Folders of committed bags, oldest first."""
    found = (p for p in folder.iterdir() if p.is_dir() and (p / "metadata.yaml").exists())
    return sorted(p for p in found if not p.name.endswith((OPEN, TORN)))


def check_store(store: Store, hashes: bool) -> CheckReport:
    report = CheckReport()
    add = report.findings.append
    rows = {r.episode_id: r for r in store.catalogue.episodes(hidden=True) if r.store_id == store.store_id}
    for folder in sorted(store.folder.glob(f"*{OPEN}")):
        with claim(folder) as ours:
            fault = folder / FAULT
            why = fault.read_text(encoding="utf-8", errors="replace").strip()[:300] if fault.is_file() else "the recording was cut off"
            add(Finding("torn", folder.name, why) if ours else Finding("busy", folder.name, "is being recorded"))
    seen = set()
    for bag in store.bags():
        seen.add(bag.name)
        report.checked += 1
        try:
            row, _ = store.row_of(bag)
            if hashes and file_hash(bag_file(bag, read_metadata(bag))) != row.hash:
                add(Finding("hash", bag.name, "the file differs from what was committed"))
                continue
        except BagError as error:
            # A bag that we once committed and that no longer reads is damaged; one that we never knew is somebody else's.
            add(Finding("damaged" if bag.name in rows or _says_ours(bag) else "foreign", bag.name, str(error)))
            continue
        known_row = rows.get(bag.name)
        if known_row is None:
            add(Finding("missing_row", bag.name, "the bag has no row"))
        elif known_row.hash != row.hash:
            add(Finding("hash", bag.name, "the row and the bag state different hashes"))
    for episode_id in sorted(set(rows) - seen):
        add(Finding("missing_bag", episode_id, "the row has no bag"))
    return report


def _says_ours(bag: Path) -> bool:
    try:
        return (read_metadata(bag).get("custom_data") or {}).get("episode_id") == bag.name
    except BagError:
        return False


def repair_store(store: Store) -> RepairReport:
    report = RepairReport()
    for folder in sorted(store.folder.glob(f"*{OPEN}")):
        with claim(folder) as ours:
            if not ours:
                continue
            try:
                report.recovered.append(recover(folder).name)
            except BagError as error:
                report.hopeless.append(Finding("torn", folder.name, str(error)))
    rows = {r.episode_id: r for r in store.catalogue.episodes(hidden=True)}
    for bag in store.bags():
        try:
            row, tags = store.row_of(bag)
            if file_hash(bag_file(bag, read_metadata(bag))) != row.hash:
                raise BagError(f"{bag}: the file differs from what was committed; no copy is known here")
        except BagError as error:
            report.hopeless.append(Finding("damaged" if bag.name in rows or _says_ours(bag) else "foreign", bag.name, str(error)))
            continue
        if bag.name not in rows:
            store.catalogue.add(row, tags)
            report.rows.append(bag.name)
        elif rows[bag.name].hash != row.hash:
            store.catalogue.replace(row)
            report.rows.append(bag.name)
    return report


def recover(folder: Path) -> Path:
    """Copies the whole chunks of a torn bag (`<id>.open`) into a new `<id>`, and renames the original `<id>.torn`.

    What follows the last observation that can be rebuilt stays in the bag; the episode has no end event, and reads as truncated with
    reason `torn`. BagError when nothing of an episode is left.
    """
    name = folder.name.removesuffix(OPEN)
    files = sorted(folder.glob("*.mcap"))
    torn = folder.with_name(f"{name}{TORN}")
    if len(files) != 1 or files[0].is_symlink():
        raise BagError(f"{folder}: {len(files)} MCAP files, expected one")
    if torn.exists():
        raise BagError(f"{torn}: exists already")
    root = folder.parent
    if (root / name).exists():
        # An earlier repair was cut off between its two renames.
        folder.rename(torn)
        return root / name
    staging = root / ".recovering"
    leftover = staging / f"{name}{OPEN}"
    if leftover.exists():
        for path in leftover.iterdir():
            path.unlink()
        leftover.rmdir()
    if (staging / name).exists():
        raise BagError(f"{staging / name}: left by an earlier repair; look at it and remove it")
    writer = BagWriter(staging, name, {"episode_id": name, "repaired": "true"})
    try:
        scan, custom = McapScan(files[0], strict=False), {"kind": "", "task": "", "cell": ""}
        rewriters: dict[str, Rewrite | None] = {}
        for channel, log_time, cdr in scan:
            if not known(channel.type):
                continue
            if channel.topic not in writer:
                writer.add_topic(channel.topic, channel.type, _qos(channel))
                rewriters[channel.topic] = rewriter(channel.type, channel.metadata, channel.schema_text)
            rewrite = rewriters[channel.topic]
            today = bytes(cdr) if rewrite is None else rewrite(cdr)
            writer.write(channel.topic, log_time, today)
            if channel.type == m.EVENT:
                start = deserialise(m.EVENT, today)
                custom.update(kind=start.kind, task=start.task, cell=channel.topic.removesuffix("/" + m.EVENT_TOPIC).strip("/"))
    except (BagError, ValueError) as error:
        writer.abandon(str(error))
        raise BagError(f"{folder}: {error}") from error
    bag = writer.commit({**custom, "lost": "0", "fault": scan.fault[:500]})
    try:
        EpisodeReader(bag.path).episode()
    except BagError as error:
        for path in bag.path.iterdir():
            path.unlink()
        bag.path.rmdir()
        raise BagError(f"{folder}: nothing of an episode is left ({error})") from error
    final = root / name
    bag.path.rename(final)
    folder.rename(torn)
    return final


def _qos(channel: ScannedChannel) -> TopicQos:
    try:
        profile = yaml.safe_load(channel.metadata.get("offered_qos_profiles", ""))[0]
        return TopicQos(int(profile["depth"]), profile["reliability"] == "reliable", profile["durability"] == "transient_local")
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        return TopicQos()
