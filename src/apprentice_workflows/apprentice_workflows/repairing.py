"""Taking in what an interruption has left in a data folder, before the work on it goes on."""

from __future__ import annotations

from apprentice_store.store import Store
from apprentice_store.store_check import RepairReport


def repair_what_is_torn(store: Store) -> RepairReport | None:
    """The store's repair, only where there is something to do: it reads every bag. None where there was nothing."""
    known = {r.episode_id for r in store.episodes(hidden=True)}
    if not any(store.folder.glob("*.open")) and all(bag.name in known for bag in store.bags()):
        return None
    return store.repair()
