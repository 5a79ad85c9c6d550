"""One door to bags, rows, annotations and manifests of a data folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from apprentice_core.episode import Episode, new_episode_id
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_store.bag_metadata import write_durably
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.catalogue import Catalogue, EpisodeRow
from apprentice_store.manifest import Manifest
from apprentice_store.merge import MergeReport, merge_folder
from apprentice_store.reward_overrides import reward_overrides
from apprentice_store.store_check import CheckReport, RepairReport, check_store, committed_bags, repair_store

log = logging.getLogger(__name__)
TELEOP_SOURCES = frozenset({"teleop", "keyboard", "gamepad", "spacemouse"})


class Store:
    """`Store(folder)`: `<folder>/<episode id>/` are bags, `catalogue.sqlite` the rows (or $APPRENTICE_STORE), `manifests/`, `cache/`."""

    def __init__(self, folder: Path | str, url: str | None = None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.catalogue = Catalogue(url) if url else Catalogue.beside(self.folder)
        self.store_id = self._identity()

    def _identity(self) -> str:
        """Tells this folder's rows from another host's in a shared catalogue."""
        path = self.folder / "store.json"
        if not path.exists():
            write_durably(path, json.dumps({"store_id": new_episode_id()}))
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["store_id"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ApprenticeError(f"{path}: is not readable; it names this data folder") from error

    def close(self) -> None:
        self.catalogue.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def row_of(self, bag: Path) -> tuple[EpisodeRow, list[str]]:
        """The row and the tags that a committed bag speaks of; BagError when it is damaged."""
        reader = EpisodeReader(bag)
        meta = reader.meta
        if meta["episode_id"] != bag.name:
            raise BagError(f"{bag}: holds episode {meta['episode_id'][:40]!r}; the folder's name differs")
        extra = meta["metadata"]
        actors = {s.actor for s in reader.steps}
        taught = {a for a in actors if a in TELEOP_SOURCES} or any(s.intervention for s in reader.steps)
        kind = "EPISODE_ROBOT_AGENT"
        if taught:
            kind = "EPISODE_ROBOT_TELEOPERATION" if actors <= TELEOP_SOURCES else "EPISODE_ROBOT_DAGGER"
        tags = extra.get("tags", [])
        row = EpisodeRow(
            **{k: meta[k] for k in (
                "episode_id", "task", "kind", "cell", "robot", "source", "bundle_id", "reset_mode", "initial_state", "seed", "continues",
                "action_space", "steps", "success", "terminated", "truncated", "reason", "lost", "hash", "started", "duration",
            )},
            data_path=bag.name, timestamp=meta["started"] // 1_000_000_000, episode_type=kind, store_id=self.store_id,
            pace=str(extra.get("pace", "")), metadata_json=json.dumps(extra, sort_keys=True),
        )
        return row, [str(t)[:200] for t in tags if t] if isinstance(tags, list) else []

    def commit(self, bag: Path | str) -> EpisodeRow:
        """Adds the row of a bag that was just committed into this folder; doing it again changes nothing."""
        path = Path(bag)
        if path.resolve().parent != self.folder.resolve():
            raise ApprenticeError(f"{path}: is not in the data folder {self.folder}")
        row, tags = self.row_of(path)
        self.catalogue.add(row, tags)
        return row

    def episodes(
        self, where: str | None = None, limit: int | None = None, newest_first: bool = False, hidden: bool = False
    ) -> list[EpisodeRow]:
        """Rows that fulfil `where`; of hidden episodes only where it names `hidden`, or with `hidden`."""
        return self.catalogue.episodes(where, limit, newest_first, hidden)

    def path(self, episode_id: str) -> Path:
        """The bag of an episode of this folder; ApprenticeError when unknown."""
        row = self.catalogue.get(episode_id)
        if row is None:
            raise ApprenticeError(f"no episode {episode_id!r} in the catalogue")
        if Path(row.data_path).name != row.data_path or row.data_path in ("", ".", ".."):
            raise ApprenticeError(f"{episode_id}: the catalogue's path {row.data_path!r} leads out of the data folder")
        return self.folder / row.data_path

    def read(self, episode_id: str, names: Iterable[str] | None = None) -> Episode:
        """All of one episode as it was recorded (trims belong to manifests); BagError when its bag is damaged."""
        return EpisodeReader(self.path(episode_id)).episode(names)

    def load(self, ids: Iterable[str], names: Iterable[str] | None = None, skipped: list[str] | None = None) -> Iterator[Episode]:
        """Episodes one by one. A damaged one is reported, appended to `skipped` and left out; the rest loads."""
        wanted = None if names is None else tuple(names)
        for episode_id in ids:
            try:
                yield self.read(episode_id, wanted)
            except BagError as error:
                log.warning("skipped: %s", error)
                if skipped is not None:
                    skipped.append(episode_id)

    def tag(self, episode_id: str, name: str, present: bool = True, author: str = "") -> int:
        return self.catalogue.tag(episode_id, name, present, author)

    def hide(self, episode_id: str, hidden: bool = True, author: str = "") -> int:
        """Leaves an episode out of `episodes` and of new manifests, or takes it in again; nothing is deleted. Returns the revision."""
        return self.catalogue.annotate(episode_id, "hidden", "", hidden, author)

    def trim(self, episode_id: str, first: int | None, last: int | None, author: str = "") -> int:
        """From now on only the steps first..last (both included) go into new manifests; None, None takes the trim back.

        The latest wins. The bag stays as it is. ApprenticeError when the episode has no such steps.
        """
        row = self.catalogue.get(episode_id)
        if row is None:
            raise ApprenticeError(f"no episode {episode_id!r} in the catalogue")
        if first is None or last is None:
            if first is not last:
                raise ApprenticeError("trim: give the first and the last step, or neither")
            return self.catalogue.annotate(episode_id, "trim", "", None, author)
        if not 0 <= first <= last < row.steps:
            raise ApprenticeError(f"{episode_id}: has steps 0 to {row.steps - 1}; cannot be trimmed to {first} to {last}")
        return self.catalogue.annotate(episode_id, "trim", "", [first, last], author)

    def stats(self) -> dict[str, Any]:
        """Totals, and by task and source, of all but the hidden episodes; `bytes` of all bags. Stable: it is `store stats --json`."""
        groups = self.catalogue.totals()
        return {
            "folder": str(self.folder),
            "episodes": sum(g["episodes"] for g in groups),
            "steps": sum(g["steps"] for g in groups),
            "seconds": sum(g["seconds"] for g in groups),
            "lost": sum(g["lost"] for g in groups),
            "hidden": self.catalogue.count("hidden = true"),
            "bytes": sum(f.stat().st_size for f in self.folder.glob("*/*.mcap")),
            "revision": self.catalogue.revision,
            "groups": groups,
        }

    def bags(self) -> list[Path]:
        """Folders of committed bags, oldest first."""
        return committed_bags(self.folder)

    def check(self, hashes: bool = True) -> CheckReport:
        """What is wrong, without changing anything; `hashes` also reads every byte of every bag."""
        return check_store(self, hashes)

    def repair(self) -> RepairReport:
        """Recovers torn bags into new folders (the original stays as `.torn`) and rows from bags. Nothing is deleted."""
        return repair_store(self)

    def merge(self, other: Path | str, link: bool = False) -> MergeReport:
        """Takes in the committed bags of another data folder, with what its catalogue says of them. See merge.py."""
        return merge_folder(self, Path(other), link)

    def manifest(self, where: str | None = None, save: bool = True, revision: int | None = None) -> Manifest:
        """The episodes that fulfil `where` at `revision` (None: the present one), with their hashes, trims and overridden rewards.

        A past revision gives the manifest that it gave then. ApprenticeError for a revision that is still to come.
        """
        present = self.catalogue.revision
        if revision is None:
            revision = present
        if not 0 <= revision <= present:
            raise ApprenticeError(f"revision {revision}: the catalogue is at {present}")
        # Also now selected as of a revision: what others annotate meanwhile does not slip in.
        rows = self.catalogue.episodes(where, revision=revision)
        trims, rewards = self.catalogue.trims(revision), reward_overrides(self.catalogue, revision)
        manifest = Manifest(
            tuple(r.episode_id for r in rows), tuple(r.hash for r in rows), where or "", revision,
            tuple((r.episode_id, *trims[r.episode_id]) for r in rows if r.episode_id in trims),
            tuple(o for r in rows for o in rewards.get(r.episode_id, ()) if o.last < r.steps),
        )
        if save:
            manifest.save(self.folder / "manifests")
        return manifest
