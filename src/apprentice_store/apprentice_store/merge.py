"""`store merge`: the committed bags of another data folder, with all that was said about them, into this one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice_core.errors import ApprenticeError, BagError
from apprentice_store.bag_metadata import bag_file, fsync_dir, read_metadata
from apprentice_store.bag_writer import OPEN
from apprentice_store.catalogue import Catalogue, EpisodeRow
from apprentice_store.mcap_file import file_hash
from apprentice_store.merge_said import OtherFolder, take_evaluations, take_queries, take_said
from apprentice_store.store_check import Finding, claim, committed_bags

if TYPE_CHECKING:
    from apprentice_store.store import Store

STAGING = ".merging"


@dataclass
class MergeReport:
    """Episode ids taken in, those that were here already, how much of what was said was taken over, and what was not, with its reason.

    `annotations` include sketches. Codes of `refused`: torn (never committed there), damaged, conflict (another bag of this id is here). Of
    `left_out`, where ours stays and no bag is concerned: prediction, evaluation, result, query.
    """

    imported: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    annotations: int = 0
    predictions: int = 0
    evaluations: int = 0
    results: int = 0
    queries: int = 0
    refused: list[Finding] = field(default_factory=list)
    left_out: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.refused

    def as_dict(self) -> dict[str, Any]:
        """Stable: it is `store merge --json`."""
        return {
            "ok": self.ok, "imported": self.imported, "present": self.present, "annotations": self.annotations,
            "predictions": self.predictions, "evaluations": self.evaluations, "results": self.results, "queries": self.queries,
            "refused": [vars(f) for f in self.refused], "left_out": [vars(f) for f in self.left_out],
        }


def merge_folder(store: Store, other: Path, link: bool) -> MergeReport:
    """Each bag is copied beside (`link`: hard-linked where the file system can), checked against its hash and renamed, then its row is
    added: a merge that is cut off leaves whole bags, and can be repeated. Annotations come with their authors and times as new
    revisions, so of two judgements the one merged last holds. Predicted rewards, evaluations with their results and saved queries come
    too; where one clashes with ours, ours stays and the report counts it. Drafts of sketches stay where they are drawn. ApprenticeError
    when `other` is no other data folder.
    """
    if not other.is_dir():
        raise ApprenticeError(f"{other}: is not a data folder")
    if other.resolve() == store.folder.resolve():
        raise ApprenticeError(f"{other}: is this data folder itself")
    staging = store.folder / STAGING
    staging.mkdir(exist_ok=True)
    catalogue = _catalogue_of(other)
    try:
        with claim(staging) as ours:
            if not ours:
                raise ApprenticeError(f"{store.folder}: another merge is running")
            return _merge(store, other, catalogue, staging, link)
    finally:
        if catalogue is not None:
            catalogue.close()


def _catalogue_of(folder: Path) -> Catalogue | None:
    """The folder's own catalogue; None where its rows were kept elsewhere or are lost: its bags speak for themselves."""
    path = folder / "catalogue.sqlite"
    return Catalogue(f"sqlite:///{path.resolve()}") if path.exists() else None


def _merge(store: Store, other: Path, catalogue: Catalogue | None, staging: Path, link: bool) -> MergeReport:
    report = MergeReport()
    for folder in sorted(other.glob(f"*{OPEN}")):
        report.refused.append(Finding("torn", folder.name, "was never committed; run `apprentice store repair` on its folder first"))
    for bag in committed_bags(other):
        try:
            row, tags = store.row_of(bag)
        except BagError as error:
            report.refused.append(Finding("damaged", bag.name, str(error)))
            continue
        known = store.catalogue.get(row.episode_id)
        conflict = _conflict(store, row, known)
        if conflict:
            report.refused.append(Finding("conflict", bag.name, conflict))
            continue
        has_bag = (store.folder / bag.name).exists()
        if not has_bag:
            try:
                _take(bag, row.hash, staging, store.folder, link)
            except BagError as error:
                report.refused.append(Finding("damaged", bag.name, str(error)))
                continue
        theirs = catalogue if catalogue is not None and catalogue.get(row.episode_id) is not None else None
        # The recorder's tags are annotations there; they are named again only where no catalogue has them.
        added = known is None and store.catalogue.add(row, () if theirs is not None else tags)
        (report.present if has_bag and not added else report.imported).append(row.episode_id)
        if theirs is not None:
            annotations, predictions = take_said(store, OtherFolder(other, theirs), row.episode_id, report.left_out)
            report.annotations += annotations
            report.predictions += predictions
    if catalogue is not None:
        report.evaluations, report.results = take_evaluations(store.catalogue, catalogue, report.left_out)
        report.queries = take_queries(store.catalogue, catalogue, report.left_out)
    return report


def _conflict(store: Store, row: EpisodeRow, known: EpisodeRow | None) -> str:
    if known is not None and known.store_id != store.store_id:
        return "the catalogue has it already, as another data folder's"
    if known is not None and known.hash != row.hash:
        return "another bag of this id is in the catalogue"
    mine = store.folder / row.episode_id
    if not mine.exists():
        return ""
    try:
        same = (read_metadata(mine).get("custom_data") or {}).get("hash") == row.hash
    except BagError as error:
        return f"the bag of this id here cannot be read: {error}"
    return "" if same else "another bag of this id is here"


def _take(bag: Path, digest: str, staging: Path, target: Path, link: bool) -> None:
    place = staging / bag.name
    # Only an earlier merge that was cut off can have left it: this one holds the lock.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        file = bag_file(bag, read_metadata(bag))
        for source in (file, bag / "metadata.yaml"):
            copy = place / source.name
            if not (link and _linked(source, copy)):
                shutil.copyfile(source, copy)
                _fsync(copy)
        if file_hash(place / file.name) != digest:
            raise BagError(f"{file}: differs from what was committed there")
        fsync_dir(place)
        place.rename(target / bag.name)
        fsync_dir(target)
    except OSError as error:
        raise BagError(f"{bag}: cannot be copied ({error.strerror})") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _linked(source: Path, copy: Path) -> bool:
    try:
        os.link(source, copy)
    except OSError:
        return False
    return True


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
