"""A store of a few recorded episodes, and Studio over it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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


def client_of(store: Store, base_url: str = "http://127.0.0.1:8090", **options) -> TestClient:
    return TestClient(create_app(store, **options), base_url=base_url)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as made:
        yield made


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Made]]:
    """Recorded once: a folder with a catalogue, to be copied."""
    folder = tmp_path_factory.mktemp("recorded") / "bags"
    with pytest.MonkeyPatch.context() as patch, Store(folder) as store:
        patch.delenv("APPRENTICE_STORE", raising=False)
        return folder, [make_episode(store, seed=i, source=s, success=i == 0) for i, s in enumerate(("expert", "policy", "random_watcher"))]


@pytest.fixture
def served(recorded: tuple[Path, list[Made]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    source, made = recorded
    folder = tmp_path / "bags"
    shutil.copytree(source, folder)
    with Store(folder) as store, client_of(store) as client:
        yield Served(store, client, [replace(m, path=folder / m.episode_id) for m in made])


@pytest.fixture
def open_client(served: Served) -> Callable[..., TestClient]:
    """A client of another Studio over the same store, with options of `create_app`."""
    return lambda **options: client_of(served.store, **options)
