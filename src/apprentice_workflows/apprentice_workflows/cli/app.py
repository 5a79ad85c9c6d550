"""The command `apprentice`. Each group's module imports what is heavy only when its command runs, so that help is quick."""

from __future__ import annotations

import sys

import typer

from apprentice_core.errors import ApprenticeError
from apprentice_workflows.cli import (
    bench,
    bundle,
    calibrate,
    checks,
    collect,
    demo,
    doctor,
    evaluate,
    insertion,
    insertion_interactive,
    launch,
    on_the_job,
    replay,
    reproduce,
    rewards,
    store,
    studio,
    train,
    train_online,
    trials,
    wheel,
)

app = typer.Typer(
    name="apprentice",
    help="Robot arms that learn on the job: cells as ROS 2 nodes, episodes as bags, policies trained offline and deployed as nodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First: apprentice demo --quick. Exit codes: 0 good, 1 the check failed, 2 wrong use.",
)

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}

app.command("demo")(demo.demo)
app.command("wheel")(wheel.wheel)
app.command("insertion")(insertion.insertion)
app.command("insertion-interactive")(insertion_interactive.insertion_interactive)
app.add_typer(on_the_job.app, name="on-the-job")
app.command("reproduce")(reproduce.reproduce)
app.command("launch")(launch.launch)
app.command("collect")(collect.collect)
app.command("calibrate")(calibrate.calibrate)
app.command("train")(train.train)
app.command("train-online")(train_online.train_online)
app.command("reward-train")(rewards.reward_train)
app.command("relabel")(rewards.relabel)
app.command("delusions")(rewards.delusions)
app.command("evaluate")(evaluate.evaluate)
app.command("trials")(trials.trials)
app.add_typer(store.app, name="store")
app.add_typer(bundle.app, name="bundle")
app.command("studio")(studio.studio)
app.command("replay")(replay.replay)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("test", context_settings=PASS_THROUGH)(checks.test)
app.command("lint")(checks.lint)


def main() -> None:
    """Entry point: ApprenticeError is one line and exit code 2; Ctrl-C is 130."""
    try:
        app()
    except ApprenticeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
