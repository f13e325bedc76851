"""The command line: ``orthobook`` or ``python -m orthobook``.

What is measured goes to the standard output, as a table or as JSON, one line for each run; progress goes to the
standard error. The options of ``train`` are the fields of :class:`orthobook.study.run.Run`, with its defaults.

Commands import what they need when they are called: torch takes seconds, and ``--help``, ``--version`` and ``list``
need none of it.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import click
from tabulate import tabulate

from orthobook import __version__
from orthobook.study import catalogue

if TYPE_CHECKING:
    import torch

    from orthobook.study.design import Records, Study
    from orthobook.study.store import Store
    from orthobook.study.verification import Check

Command = Callable[..., Any]

HELP = {
    "depth": "Number of layers.",
    "width": "Width of the trunk; for images the number of channels.",
    "data": "Data set.",
    "held_out": "Training examples held out for validation.",
    "judged_on": "What accuracy and loss refer to.",
    "measure": "What to measure of the trained network beside accuracy and loss.",
    "seed": "Of the parameters and of the order of the examples.",
    "mode": "How orthogonality is treated: left to itself, encouraged by a penalty, or kept exactly.",
    "steps": "Training steps.",
    "batch_size": "Examples in a step.",
    "learning_rate": "Of the first step; it falls linearly to 0.",
    "penalty": "Weight of the penalty in the mode penalised.",
    "depth_exponent": "p: the trunk's learning rate is divided by depth^p.",
}


THREADS = max(os.cpu_count() or 1, 64)  # torch dies of a hundred thousand


class Group(click.Group):
    """A group of commands that reports errors of value and of files as one line, not as a traceback, in UTF-8."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
                stream.reconfigure(encoding="utf-8")  # what a redirect to a file has may lack Greek letters
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                warnings.showwarning = _warn
                return super().invoke(ctx)
        except (BrokenPipeError, click.exceptions.Exit, click.Abort):  # click's own affair
            raise
        except (ValueError, OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


def option_values(ctx: click.Context, parameter: click.Parameter, words: Iterable[str]) -> dict[str, Any]:
    """Return name=value words as a dictionary of numbers and names."""
    return {name: parsed(value) for name, value in _halves(words).items()}


def grid_values(ctx: click.Context, parameter: click.Parameter, words: Iterable[str]) -> dict[str, list[Any]]:
    """Return key=value,value words as a dictionary of lists."""
    pairs = _halves(words).items()
    return {key: [parsed(value.strip()) for value in values.split(",") if value.strip()] for key, values in pairs}


def _halves(words: Iterable[str]) -> dict[str, str]:
    halves: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise click.BadParameter(f"expected name=value, got {word!r}")
        if name in halves:
            raise click.BadParameter(f"{name} is given twice")
        halves[name] = value.strip()
    return halves


def parsed(text: str) -> int | float | str | None:
    """Return a number if the text is one, None for auto, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text == "auto" else text


class TrainCommand(click.Command):
    """A command that has, beside its own options, one for every field of a run; to know them, it loads torch."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return all parameters."""
        argument, option, *others = super().get_params(ctx)
        return [argument, *_run_options(), option, *others]


@functools.cache
def _run_options() -> list[click.Option]:
    from orthobook.data import data_sets
    from orthobook.study.run import Run

    types, found = get_type_hints(Run), []
    for field in fields(Run):
        if field.name not in ("architecture", "options"):
            choices = data_sets() if field.name == "data" else get_args(types[field.name])
            given: dict[str, Any] = {"required": True} if field.default is MISSING else {"default": field.default}
            kind = click.Choice(choices) if choices else types[field.name]
            words: dict[str, Any] = {"type": kind, "help": HELP[field.name], "show_default": True}
            found.append(click.Option([f"--{field.name.replace('_', '-')}"], **given, **words))
    return found


def network_options(command: Command) -> Command:
    """Give a command the architecture as its argument, and its options."""
    text = "Option of the architecture, such as threshold=2; may be repeated. `orthobook list` shows them."
    decorate = click.option("-o", "--option", "options", multiple=True, callback=option_values, help=text)
    return click.argument("architecture")(decorate(command))


def device_option(command: Command) -> Command:
    """Give a command the option --device."""
    text = "auto (the fastest at hand), cpu, cuda or mps."
    return click.option("--device", default="auto", show_default=True, callback=_device, help=text)(command)


def _device(ctx: click.Context, parameter: click.Parameter, name: str) -> torch.device | None:
    if name == "auto":
        return None
    import torch

    from orthobook.networks import available_device

    if ctx.params.get("dask"):  # on a cluster the device is each worker's affair
        return torch.device(name)
    try:
        return available_device(name, torch.float32)
    except ValueError as error:
        raise click.BadParameter(str(error).replace("None", "auto")) from error


def store_option(command: Command) -> Command:
    """Give a command the option --store."""
    text = "File of records, one line of JSON each; it only grows."
    return click.option("--store", type=click.Path(dir_okay=False, path_type=Path), help=text)(command)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="orthobook")
def main() -> None:
    """Train and examine deep networks whose Jacobian is orthogonal, and repeat the measurements of the book.

    \b
    orthobook list
    orthobook train shifted-fold --depth 200
    orthobook sweep -g architecture=shifted-fold,residual -g depth=10,100 --store mine.jsonl
    orthobook spectrum relu-orthogonal --depth 100
    orthobook results show comparison
    orthobook results verify
    """


@main.command(cls=TrainCommand)
@network_options
@device_option
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, THREADS), help="Threads on the CPU.")
@store_option
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File from which an interrupted run can go on. By default named after the run, in this folder; "
    "removed when the run is finished.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of this run, if there is one.")
@click.pass_context
def train(
    ctx: click.Context,
    device: torch.device | None,
    threads: int,
    store: Path | None,
    checkpoint: Path | None,
    resume: bool,
    **values: Any,
) -> None:
    """Train one network, print its record, and add it to a store if one is given.

    \b
    orthobook train shifted-fold --depth 200
    orthobook train modified-residual --depth 50 -o threshold=2 --mode free --data fashion-mnist
    orthobook train residual --depth 100 --steps 2000 --store mine.jsonl
    orthobook train residual --depth 100 --steps 2000 --store mine.jsonl --resume
    """
    import torch

    from orthobook.study import execution
    from orthobook.study.run import Run
    from orthobook.study.store import Store

    run = Run(**values)
    kept = Store(store) if store is not None else None
    if kept is not None:
        kept.prepare()  # an error now, not after the training
        if kept.holds(run):
            (record,) = (one for one in kept.records() if one.run == run)
            click.echo(f"{store} holds this run already.", err=True)
            click.echo(record.to_json())
            return
    checkpoint = checkpoint or Path(f"orthobook-{run.key}.checkpoint")
    if checkpoint.exists() and not resume:
        raise click.ClickException(f"{checkpoint} holds an unfinished run: add --resume to go on, or remove the file")
    torch.set_num_threads(threads)
    try:
        record = execution.execute(run, device=device, progress=True, checkpoint=checkpoint)
    except KeyboardInterrupt:
        saved = f"saved in {checkpoint}. The same command with --resume goes on."
        click.echo(f"Interrupted; {saved if checkpoint.exists() else 'nothing is saved.'}", err=True)
        ctx.exit(130)
    if record.status == "failed":
        raise click.ClickException(record.reason)
    try:
        if kept is not None:
            kept.append(record)
    finally:  # what cannot be stored is not lost
        click.echo(record.to_json())
    checkpoint.unlink(missing_ok=True)


@main.command()
@click.option(
    "-g",
    "--grid",
    "axes",
    multiple=True,
    callback=grid_values,
    help="A key with its values, as in depth=10,100: an option of `orthobook train`, or of every architecture.",
)
@click.option("--study", help="Run a study of the book in place of a grid; `orthobook list` shows them.")
@device_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one for each core, or 1 on a GPU.")
@click.option(
    "--dask", metavar="ADDRESS", is_eager=True, help="Run on the dask cluster whose scheduler has this address."
)
@store_option
@click.pass_context
def sweep(
    ctx: click.Context,
    axes: dict[str, list[Any]],
    study: str | None,
    device: torch.device | None,
    workers: int | None,
    dask: str | None,
    store: Path | None,
) -> None:
    """Run a grid, or a study of the book, and print each new record. The same command goes on after an interruption.

    \b
    orthobook sweep -g architecture=shifted-fold,residual -g depth=10,100 -g seed=0,1,2 --store mine.jsonl
    orthobook sweep -g architecture=shifted-fold -g depth=50 -g threshold=0,1,2,3 --store thresholds.jsonl
    orthobook sweep --study verification --store again.jsonl
    orthobook sweep --study comparison --store again.jsonl --dask tcp://head:8786
    """
    if store is None:
        raise click.UsageError("a sweep needs --store FILE, where its records are kept")
    if bool(axes) == bool(study):
        raise click.UsageError("a sweep needs a grid (-g key=value,...) or a --study, and not both")
    from orthobook.study import design, studies
    from orthobook.study import sweep as sweeps
    from orthobook.study.store import Store

    options: dict[str, Any] = {"executor": _dask_executor(dask) if dask else None, "workers": workers, "device": device}
    where = Store(store)
    records = (
        design.run_study(studies.study(study), where, **options)
        if study
        else sweeps.sweep(sweeps.grid(**axes), where, **options)
    )
    counts = {"finished": 0, "diverged": 0, "failed": 0}
    try:
        for record in records:
            counts[record.status] += 1
            click.echo(record.to_json())
    except KeyboardInterrupt:
        click.echo(f"Interrupted; what is finished is in {store}. The same command goes on.", err=True)
        ctx.exit(130)
    finally:
        summary = ", ".join(f"{number} {status}" for status, number in counts.items())
        click.echo(f"{summary}; {len(where.records())} records in {store}", err=True)
    if counts["failed"]:
        ctx.exit(1)


def _dask_executor(address: str) -> Executor:
    try:
        from distributed import Client
    except ImportError:
        raise click.ClickException("--dask needs the package distributed: pip install 'orthobook[dask]'") from None
    return Client(address).get_executor()


@main.command()
@network_options
@click.option("--depth", type=int, required=True, help=HELP["depth"])
@click.option("--width", default=64, show_default=True, help=HELP["width"])
@click.option("--seed", default=0, show_default=True, help="Of the parameters.")
@click.option("--inputs", default=16, show_default=True, type=click.IntRange(1, 2000), help="Test images to look at.")
@device_option
def spectrum(
    architecture: str,
    options: dict[str, Any],
    depth: int,
    width: int,
    seed: int,
    inputs: int,
    device: torch.device | None,
) -> None:
    """Print the singular values of the Jacobian of an untrained network's trunk, in double precision.

    \b
    orthobook spectrum shifted-fold --depth 500
    orthobook spectrum relu-orthogonal --depth 100
    """
    import torch

    import orthobook
    from orthobook.layers.base import block

    if not block(architecture, **options).vectors:
        raise click.ClickException(f"{architecture} works on images; spectrum is for layers on vectors")
    data = orthobook.load("fashion-mnist-small")
    images = data.test.images[:inputs].double()
    if device is None or device.type == "mps":  # MPS has no double precision
        device = orthobook.best_device(torch.float64)
    net = orthobook.build(
        architecture,
        depth=depth,
        width=width,
        inputs=images.shape[1],
        classes=len(data.classes),
        seed=seed,
        dtype=torch.float64,
        device=device,
        **options,
    )
    values = orthobook.singular_values(net, images)
    quantiles = torch.quantile(values.flatten(), torch.linspace(0, 1, 5, dtype=values.dtype, device=values.device))
    names = ("smallest", "lower quartile", "median", "upper quartile", "largest")
    line = {"architecture": architecture, "options": options, "depth": depth, "width": width, "seed": seed}
    line |= {"inputs": inputs, "singular values": dict(zip(names, quantiles.tolist(), strict=True))}
    line |= {"largest deviation from 1": (values - 1).abs().max().item()}
    click.echo(json.dumps(line))


@main.command()
@device_option
@store_option
@click.pass_context
def robustness(ctx: click.Context, device: torch.device | None, store: Path | None) -> None:
    """Show the study of robustness, having run what a store lacks of it, in three quarters of an hour of one core.

    \b
    orthobook robustness --store again.jsonl     # stands for these two:
    orthobook sweep --study robustness --store again.jsonl
    orthobook results show robustness --store again.jsonl
    """
    if store is not None:
        ctx.invoke(sweep, axes={}, study="robustness", device=device, workers=None, dask=None, store=store)
    ctx.invoke(show, name="robustness", store=store)


@main.command("list")
def list_() -> None:
    """List architectures with their options, data sets, and the studies of the book."""
    rows = [(name, kind, _options(options)) for name, (kind, options) in catalogue.architectures().items()]
    click.echo(tabulate(rows, headers=("architecture", "layers", "options"), tablefmt="simple"))
    click.echo("\n" + tabulate([[name] for name in catalogue.data_sets()], headers=("data set",), tablefmt="simple"))
    questions = list(catalogue.studies().items())
    click.echo("\n" + tabulate(questions, headers=("study", "question"), tablefmt="simple"))


def _options(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={'auto' if value is None else value}" for name, value in values.items()) or "–"


@main.group()
def results() -> None:
    """Show the stored results of the book, or repeat some of them."""


@results.command()
@click.argument("name")
@store_option
def show(name: str, store: Path | None) -> None:
    """Print a study or a benchmark as a table.

    Of most studies: accuracy over fresh seeds at the learning rate chosen on the validation split. Of the robustness of
    the book's networks: accuracy, certified and attacked at a length of 0.1 in pixels, and what the certificates come
    from. Of a benchmark: times and ratios with their quartiles, and the machine.

    \b
    orthobook results show comparison
    orthobook results show comparison --store again.jsonl
    orthobook results show robustness
    orthobook results show "training step"
    """
    from orthobook.study import studies, tables

    if name not in studies.STUDIES:
        _show_benchmark(name, store)
        return
    study = studies.study(name)
    if store is None:
        outcomes = list(studies.stored(name))
    else:
        outcomes = study.complete(_records(study, store))
        if len(outcomes) < len(study.cells):
            click.echo(f"{len(outcomes)} of the study's {len(study.cells)} cells are stored in {store}", err=True)
    click.echo(tables.table(outcomes, tablefmt="simple"))


def _show_benchmark(name: str, store: Path | None) -> None:
    from orthobook.study import studies, timings
    from orthobook.study.store import Store

    try:
        records = timings.of_benchmark(name, Store(timings.RESULTS) if store is None else _existing(store))
    except ValueError as error:
        raise click.BadParameter(f"{error}; studies are: {', '.join(studies.STUDIES)}", param_hint="NAME") from error
    for record in records:
        for words in (record.run.options, record.birth):
            click.echo(", ".join(f"{name} {value}" for name, value in words.items()))
        for title, rows in record.result["tables"].items():
            click.echo("\n" + timings.table(title, rows))
        click.echo()


@results.command("claims")
def claims_() -> None:
    """Print the claims of the book with their verdicts, from the stored results."""
    from orthobook.study import claims

    click.echo(claims.markdown(claims.findings()))


@results.command()
@click.argument("names", metavar="[STUDY]...", nargs=-1)
@click.option(
    "--longest",
    default=15.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Leave out runs that took more seconds than this.",
)
@store_option
def verify(names: tuple[str, ...], longest: float, store: Path | None) -> None:
    """Repeat the smallest run of every contender of every study (or of those named) and compare with what is stored.

    On the same type of processor and with the same versions the results must agree to the last digit, otherwise within
    four standard deviations. Runs on a full data set download it once.

    \b
    orthobook results verify
    orthobook results verify verification      # needs no data but the package's own
    orthobook results verify five-passes --longest 120
    """
    from orthobook.study import studies, verification

    repeated, wrong, left_out = 0, 0, 0
    chosen = [studies.study(name) for name in names] or [s for s in studies.STUDIES.values() if s.name != "robustness"]
    for study in chosen:
        records = _records(study, store)
        runs = verification.sample(study, records)
        short = [run for run in runs if run.key in records and records[run.key].birth["seconds"] <= longest]
        left_out += len(runs) - len(short)
        for check in verification.verify(short, records):
            repeated, wrong = repeated + 1, wrong + (not check.matches)
            click.echo(_report(study.name, check))
    if left_out:
        click.echo(f"{left_out} runs left out: longer than {longest:g} s, or not stored", err=True)
    click.echo(f"{repeated} runs repeated, {wrong} of them differ", err=True)
    if not repeated:
        raise click.ClickException("the stored results are not confirmed, as none was repeated: allow for longer runs")
    if wrong:
        raise click.ClickException("the stored results are not confirmed")


def _report(name: str, check: Check) -> str:
    run, old, new = check.stored.run, check.stored, check.repeated
    asked = "to the last digit" if check.tolerance == 0 else f"within {check.tolerance:.4f}"
    verdict = "repeats" if check.matches else "DIFFERS"
    what = f"{name}: {run.architecture}, {run.depth} layers, {run.steps} steps"
    return (
        f"{verdict} {asked}: {what}: accuracy {old.accuracy:.4f} stored, {new.accuracy:.4f} now {new.reason}".rstrip()
    )


def _records(study: Study, store: Path | None) -> Records:
    """Return the records of a store, by default those of the study that come with the package."""
    from orthobook.study.design import by_key
    from orthobook.study.studies import stored_records

    return stored_records(study.results) if store is None else by_key(_existing(store))


def _existing(store: Path) -> Store:
    from orthobook.study.store import Store

    if not store.exists():
        raise click.ClickException(f"there is no store {store}")
    return Store(store)


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m orthobook"))
