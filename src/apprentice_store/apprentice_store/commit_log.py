"""Episodes in the order in which they were committed: what a trainer follows while actors go on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue
from apprentice_store.query import parse_where


@dataclass(frozen=True)
class Commit:
    """`revision` is the catalogue's when the episode came in: it orders commits, and is a position to go on from."""

    revision: int
    episode_id: str


def commits_after(catalogue: Catalogue, revision: int, store_id: str, where: str | None = None) -> list[Commit]:
    """Commits of this data folder behind `revision` that fulfil `where`, oldest first.

    Hidden episodes are among them: hiding is said later, and what has been learned from once stays in a journal's past. A later revision is
    never visible before an earlier one (see Catalogue), so nothing can slip in behind a position.
    """
    query = (
        select(s.commits.c.revision, s.commits.c.episode_id)
        .join(s.episodes, s.episodes.c.episode_id == s.commits.c.episode_id)
        .where(s.commits.c.revision > revision, s.episodes.c.store_id == store_id, parse_where(where, True, None))
        .order_by(s.commits.c.revision)
    )
    with catalogue.transaction() as c:
        return [Commit(int(r[0]), str(r[1])) for r in c.execute(query).all()]
