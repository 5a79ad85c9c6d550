"""A store of a few recorded episodes, and Studio over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from apprentice_store.store import Store
from apprentice_store.testing import Made, make_episode
from apprentice_studio.app import create_app


@dataclass
class Served:
    """A store of three episodes (expert, policy, random_watcher; 6 frames each), its client, and what was recorded."""

    store: Store
    client: TestClient
    made: list[Made]

    @property
    def ids(self) -> list[str]:
        return [m.episode_id for m in self.made]


def client_of(store: Store, **options) -> TestClient:
    return TestClient(create_app(store, **options), base_url="http://127.0.0.1:8090")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as made:
        yield made


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    sources = ("expert", "policy", "random_watcher")
    made = [make_episode(store, seed=i, source=s, task="lift", success=i == 0) for i, s in enumerate(sources)]
    with client_of(store) as client:
        yield Served(store, client, made)
