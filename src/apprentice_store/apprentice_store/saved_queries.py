"""Named filters over episodes (spec 000 line 27)."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue
from apprentice_store.query import parse_where


def saved_queries(catalogue: Catalogue) -> dict[str, str]:
    """`where` by name, sorted by name."""
    t = s.saved_queries.c
    with catalogue.transaction() as c:
        return {name: where for name, where in c.execute(select(t.name, t.where).order_by(t.name))}  # noqa: C416 - rows are no pairs to mypy


def save_query(catalogue: Catalogue, name: str, where: str) -> None:
    """Names a filter, or gives a name another one; QueryError for text that is no filter."""
    parse_where(where)
    t = s.saved_queries
    with catalogue.transaction(writes=True) as c:
        if c.execute(update(t).where(t.c.name == name).values(where=where)).rowcount == 0:
            c.execute(insert(t).values(name=name, where=where))


def forget_query(catalogue: Catalogue, name: str) -> bool:
    """Whether there was one."""
    with catalogue.transaction(writes=True) as c:
        return c.execute(delete(s.saved_queries).where(s.saved_queries.c.name == name)).rowcount > 0
