"""`apprentice store`: recorded episodes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from apprentice_store.published_export import TransferReport
    from apprentice_store.store import Store

app = typer.Typer(no_args_is_help=True, help="Look at, select, merge, check, repair and pin recorded episodes.")

Data = Annotated[Path | None, typer.Option("--data", "-d", help="The data folder; $APPRENTICE_DATA or bags/ by default.")]
Where = Annotated[str, typer.Option("--where", "-w", help="Only episodes that fulfil this, e.g. \"task = 'lift' and tag = 'good'\".")]


def existing_data(data: Path | None) -> Path:
    """The data folder, if it is there: looking at one must not make it."""
    from apprentice_core.errors import ApprenticeError
    from apprentice_core.paths import data_dir

    folder = data if data is not None else data_dir()
    if not folder.is_dir():
        raise ApprenticeError(f"data folder {folder} does not exist; name one with --data or $APPRENTICE_DATA")
    return folder


def open_store(data: Path | None) -> Store:
    """The store of an existing folder."""
    from apprentice_store.store import Store

    return Store(existing_data(data))


@app.command("ls")
def ls(
    data: Data = None,
    where: Where = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="The newest so many; 0: all.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List episodes, newest first.

    Example:

      apprentice store ls -d bags/demo/episodes -w "source = 'policy' and success = false"
    """
    with open_store(data) as store:
        rows = store.episodes(where or None, limit or None, newest_first=True)
        if as_json:
            print_json({"episodes": [{k: v for k, v in vars(r).items() if k != "metadata_json"} for r in rows]})
            return
        table = [
            (
                r.episode_id,
                datetime.fromtimestamp(r.timestamp).strftime("%m-%d %H:%M"),
                r.kind,
                r.task,
                r.source,
                r.steps,
                {True: "yes", False: "no", None: "?"}[r.success],
                r.reason,
                r.lost,
            )
            for r in rows
        ]
        print_table(str(store.folder), ("episode", "start", "kind", "task", "source", "steps", "success", "ended by", "lost"), table)


@app.command("stats")
def stats(data: Data = None, as_json: JsonFlag = False) -> None:
    """Totals, and by task and source.

    Example:

      apprentice store stats -d bags/demo/episodes --json
    """
    with open_store(data) as store:
        facts = store.stats()
    if as_json:
        print_json(facts)
        return
    size = f"{facts['bytes'] / 2**20:.1f} MiB"
    title = f"{facts['folder']}: {facts['episodes']} episodes, {facts['steps']} steps, {size}, {facts['lost']} observations lost"
    columns = list(facts["groups"][0]) if facts["groups"] else ["episodes"]
    print_table(title, columns, [[g[c] if not isinstance(g[c], float) else f"{g[c]:.1f}" for c in columns] for g in facts["groups"]])


@app.command("show")
def show(episode: Annotated[str, typer.Argument(help="Episode id.")], data: Data = None, as_json: JsonFlag = False) -> None:
    """One episode: its row, annotations and arrays; every observation's digest is checked against the recorded one.

    Example:

      apprentice store show 01KB... -d bags/demo/episodes
    """
    from apprentice_store.bag_reader import digest_mismatches

    with open_store(data) as store:
        path = store.path(episode)
        row = store.catalogue.get(episode)
        read = store.read(episode)
        said = {
            "tags": ", ".join(store.catalogue.tags_of(episode)),
            "hidden": bool(store.episodes(f"hidden = true and id = '{episode}'")),
            "trim": store.catalogue.trims().get(episode),
        }
    assert row is not None
    facts = {
        **vars(row),
        **said,
        "path": str(path),
        "digest_mismatches": len(digest_mismatches(read)),
        "observations": {k: f"{v.dtype}{list(v.shape)}" for k, v in read.observations.items()},
        "rewards": {k: float(v[v == v].sum()) for k, v in read.rewards.items()},
        "actors": {a: read.actors.count(a) for a in sorted(set(read.actors))},
        "outcomes": {o: read.outcomes.count(o) for o in sorted(set(read.outcomes))},
    }
    if as_json:
        print_json(facts)
        return
    rows: list[tuple[str, object]] = []
    for key, value in facts.items():
        rows += [(f"{key}: {k}", v) for k, v in value.items()] if isinstance(value, dict) else [(key, value)]
    print_table(episode, ("what", "value"), rows)


@app.command("tag")
def tag(
    episode: Annotated[str, typer.Argument(help="Episode id.")],
    name: Annotated[str, typer.Argument(help="The tag.")],
    data: Data = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away (its history stays).")] = False,
    author: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Tag an episode.

    Example:

      apprentice store tag 01KB... good -d bags/demo/episodes
    """
    with open_store(data) as store:
        store.path(episode)
        revision = store.tag(episode, name, not remove, author)
    typer.echo(f"{episode}: {name} {'removed' if remove else 'set'} (revision {revision})")


@app.command("hide")
def hide(
    episode: Annotated[str, typer.Argument(help="Episode id.")],
    data: Data = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the episode in again.")] = False,
    author: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Leave an episode out of lists, totals and new manifests. Its bag stays; `ls -w "hidden = true"` lists what is hidden.

    Examples:

      apprentice store hide 01KB... -d bags/demo/episodes --author u1

      apprentice store hide 01KB... -d bags/demo/episodes --undo
    """
    with open_store(data) as store:
        revision = store.hide(episode, not undo, author)
    typer.echo(f"{episode}: {'shown again' if undo else 'hidden'} (revision {revision})")


@app.command("trim")
def trim(
    episode: Annotated[str, typer.Argument(help="Episode id.")],
    first: Annotated[int | None, typer.Argument(help="First step to keep, counted from 0.", min=0)] = None,
    last: Annotated[int | None, typer.Argument(help="Last step to keep.", min=0)] = None,
    data: Data = None,
    undo: Annotated[bool, typer.Option("--undo", help="Keep all steps again; give no FIRST and LAST.")] = False,
    author: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Let new manifests keep only the steps FIRST to LAST of an episode, both included. Its bag stays as it is; the latest trim holds.

    Examples:

      apprentice store trim 01KB... 4 61 -d bags/demo/episodes

      apprentice store trim 01KB... --undo -d bags/demo/episodes
    """
    from apprentice_core.errors import ApprenticeError

    if undo != (first is None) or undo != (last is None):
        raise ApprenticeError("trim: give FIRST and LAST, or --undo alone")
    with open_store(data) as store:
        revision = store.trim(episode, first, last, author)
    typer.echo(f"{episode}: {'all steps' if undo else f'steps {first} to {last}'} (revision {revision})")


@app.command("merge")
def merge(
    other: Annotated[Path, typer.Argument(help="Another data folder.")],
    data: Data = None,
    link: Annotated[bool, typer.Option("--link", help="Hard-link the bags instead of copying, where the file system can.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take in the episodes of another data folder, with their tags, judgements, sketches, trims, hiding and predicted rewards, and its
    evaluations and saved queries. Each bag's hash is checked. It can be repeated: what is here already is left alone, and where the two
    differ ours stays. Exit code 1 when a bag was refused; the reason is told.

    Example:

      apprentice store merge /media/usb/bags -d bags
    """
    with open_store(data) as store:
        report = store.merge(other, link)
    if as_json:
        print_json(report.as_dict())
    else:
        for finding in report.refused:
            typer.echo(f"refused: {finding.name}: {finding.message}")
        for finding in report.left_out:
            typer.echo(f"left out: {finding.code} {finding.name}: {finding.message}")
        typer.echo(
            f"{len(report.imported)} episodes taken in, {len(report.present)} were here already, {report.annotations} annotations, "
            f"{report.predictions} predictions, {report.evaluations} evaluations, {report.results} results, {report.queries} queries, "
            f"{len(report.left_out)} left out, {len(report.refused)} refused"
        )
    raise typer.Exit(0 if report.ok else 1)


@app.command("check")
def check(
    data: Data = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read every byte to compare hashes.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """What is wrong in a data folder, without changing it. Exit code 1 when something is.

    Example:

      apprentice store check -d bags/demo/episodes
    """
    with open_store(data) as store:
        report = store.check(hashes=not quick)
    if as_json:
        print_json(report.as_dict())
    else:
        for finding in report.findings:
            typer.echo(f"{finding.code}: {finding.name}: {finding.message}")
        typer.echo(f"{report.checked} bags checked: {'good' if report.ok else 'run `apprentice store repair`'}")
    raise typer.Exit(0 if report.ok else 1)


@app.command("repair")
def repair(data: Data = None, as_json: JsonFlag = False) -> None:
    """Recover torn bags into new folders (the original stays as .torn) and rebuild rows. Exit code 1 when something is beyond repair.

    Example:

      apprentice store repair -d bags/demo/episodes
    """
    with open_store(data) as store:
        report = store.repair()
    if as_json:
        print_json(report.as_dict())
    else:
        typer.echo(f"recovered {len(report.recovered)} bags, rebuilt {len(report.rows)} rows")
        for finding in report.hopeless:
            typer.echo(f"beyond repair: {finding.name}: {finding.message}")
    raise typer.Exit(1 if any(f.code != "foreign" for f in report.hopeless) else 0)


@app.command("manifest")
def manifest(data: Data = None, where: Where = "", as_json: JsonFlag = False) -> None:
    """Pin the episodes that fulfil a condition, with their hashes, as an immutable list that training and reports can name.

    Example:

      apprentice store manifest -d bags/demo/episodes -w "tag = 'collect'"
    """
    with open_store(data) as store:
        pinned = store.manifest(where or None)
        folder = store.folder / "manifests"
    if as_json:
        print_json(
            {"hash": pinned.hash, "episodes": len(pinned), "revision": pinned.revision, "query": pinned.query, "folder": str(folder)}
        )
    else:
        typer.echo(f"{pinned.hash}: {len(pinned)} episodes at revision {pinned.revision}, in {folder}")


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="A new folder.")], data: Data = None, where: Where = "", as_json: JsonFlag = False
) -> None:
    """Write episodes in the published layout (SQLite and one TFRecord file each), with tags and reward sketches. Exit code 1 when one was
    refused.

    Example:

      apprentice store export /media/usb/lift -d bags -w "task = 'lift'"
    """
    from apprentice_store.published_export import export_store

    with open_store(data) as store:
        _transferred(export_store(store, folder, where or None), "written", as_json)


@app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="A store in the published layout, its archives unpacked.")], data: Data = None,
    as_json: JsonFlag = False,
) -> None:
    """Take in episodes of the published layout as bags, with tags and reward sketches. It can be repeated. Exit code 1 when one was
    refused.

    Example:

      apprentice store import /media/usb/lift -d bags
    """
    from apprentice_store.published_import import import_store

    with open_store(data) as store:
        _transferred(import_store(store, folder), "taken in", as_json)


def _transferred(report: TransferReport, done: str, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
    else:
        for episode, reason in report.refused:
            typer.echo(f"refused: {episode}: {reason}")
        typer.echo(
            f"{len(report.episodes)} episodes {done}, {len(report.present)} were here already, {report.sequences} reward sequences, "
            f"{len(report.refused)} refused"
        )
    raise typer.Exit(1 if report.refused else 0)
