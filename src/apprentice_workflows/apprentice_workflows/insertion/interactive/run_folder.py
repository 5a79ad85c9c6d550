"""What all parts of a run are told: one file in its folder, written when it begins and never changed but for Studio's address."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably
from apprentice_workflows.insertion.interactive.settings import InteractiveSettings

FILE, STUDIO, LOCK = "run.json", "studio.json", "lock"


class _Identity(Strict):
    preset: str
    seed: int = Field(ge=0)
    settings: InteractiveSettings


@dataclass(frozen=True)
class RunFolder:
    """`out`/episodes, policy/, reward/, run.json, result.json, plot.png."""

    out: Path
    preset: str
    seed: int
    settings: InteractiveSettings

    @property
    def data(self) -> Path:
        return self.out / "episodes"

    @classmethod
    def begin(cls, out: Path, preset: str, seed: int, s: InteractiveSettings) -> RunFolder:
        """A new run, or the one that is there; ApprenticeError when that is another's. It may be made longer by `episodes`."""
        out.mkdir(parents=True, exist_ok=True)
        if (out / FILE).exists():
            known = cls.load(out)
            free = {"episodes", "solved", "evaluations"}
            if (known.seed, known.settings.model_dump(exclude=free)) != (seed, s.model_dump(exclude=free)):
                raise ApprenticeError(f"{out} holds another run (preset {known.preset}, seed {known.seed}): use another --out")
        content = _Identity(preset=preset, seed=seed, settings=s).model_dump(mode="json")
        write_durably(out / FILE, json.dumps(content, indent=1) + "\n")
        return cls(out, preset, seed, s)

    @classmethod
    def load(cls, out: Path) -> RunFolder:
        """ApprenticeError when the file is absent or damaged."""
        try:
            found = _Identity.model_validate_json((out / FILE).read_text(encoding="utf-8"))
        except (OSError, ValidationError, ValueError) as error:
            raise ApprenticeError(f"{out / FILE}: is no run of interactive insertion ({' '.join(str(error).split())[:200]})") from error
        return cls(out, found.preset, found.seed, found.settings)

    @contextmanager
    def held(self) -> Iterator[None]:
        """This process alone works on the run; ApprenticeError when another does."""
        with (self.out / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ApprenticeError(f"{self.out}: another process is at work on this run") from None
            yield

    @property
    def studio_url(self) -> str:
        """Of the Studio that serves this run; ApprenticeError where none was told."""
        try:
            return str(json.loads((self.out / STUDIO).read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ApprenticeError(f"{self.out / STUDIO}: does not say where Studio is") from error

    def tell_studio(self, url: str) -> None:
        write_durably(self.out / STUDIO, json.dumps({"url": url}) + "\n")
