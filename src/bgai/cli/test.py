"""`bgai test`: measure weights on test images from an option file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bgai.choices import EngineName
from bgai.cli import interrupts
from bgai.cli.cluster import ClusterOption, WorkerCpusOption, WorkerGpusOption, ray_silenced
from bgai.cli.console import needing_extra, note, out, progress_bar, tell
from bgai.cli.option_file import ForceYml, More, OptionFile, TryOut, read_options
from bgai.errors import UsageError

if TYPE_CHECKING:
    from bgai.evaluation.result_folder import Results


def run_test(
    opt: OptionFile,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
    device: Annotated[str, typer.Option(help="Where it runs: auto, cpu, cuda, mps, …")] = "auto",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure on this set of the option file alone; may be given several times.",
            show_default="all sets",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Measure again what was measured before.")] = False,
    cluster: ClusterOption = None,
    worker_cpus: WorkerCpusOption = 1,
    worker_gpus: WorkerGpusOption = 0,
    force_yml: ForceYml = None,
    more: More = None,
    debug: TryOut = False,
    launcher: Annotated[str, typer.Option(hidden=True)] = "none",
) -> None:
    """Measure weights on sets of test images, from an option file in BasicSR's layout.

    Scores and a report (report.html) are written to results/NAME, where NAME is in the option file. After a stop,
    the same command continues with the next image.

        bgai test -opt options/test/BGAI/test_BGAI_x4.yml --only Set5

    Needs the extra 'train'.
    """
    if launcher != "none":
        raise UsageError(f"launcher {launcher}: tests run in one process; leave it out", parameter="launcher")
    with needing_extra("train", "bgai test"):
        from bgai.cluster.pool import Pool
        from bgai.evaluation import run
        from bgai.options.evaluation import TestOptions
    options = read_options(opt, TestOptions, force_yml, more)
    if debug:
        options = options.model_copy(update={"name": f"debug_{options.name}"})
    pool = None if cluster is None else Pool(cluster, worker_cpus, worker_gpus)
    # While machines of a cluster work, a signal need not wait for an image.
    with ray_silenced() if pool else interrupts.deferred(), progress_bar(transient=True) as advance:
        results = run.run_test(
            options, engine=engine, device=device, only=only or (), overwrite=overwrite, progress=advance, pool=pool
        )
    for line in options.notes():
        note(f"note: {line}")
    _show_results(results, [name for name in results.datasets if not only or name in only])


def _show_results(results: Results, datasets: Sequence[str]) -> None:
    """Print a table of the sets' scores, and where the rest is."""
    from rich.table import Table

    from bgai.evaluation.result_folder import compared, means

    if not datasets:
        tell(str(results.folder / "visualization"))
        return
    names = list(results.of_set(datasets[0])[0].scores)
    table = Table("set", "images", *names, "seconds an image", caption="in parentheses: bicubic")
    for column in table.columns[1:]:
        column.justify = "right"
    for dataset in datasets:
        images = results.of_set(dataset)
        scores, bicubic = means([image.scores for image in images]), means([image.bicubic for image in images])
        seconds = sum(image.seconds for image in images) / len(images)
        table.add_row(dataset, str(len(images)), *compared(scores, bicubic), f"{seconds:.3f}")
    out.print(table)
    for name in ("metrics.json", "report.html"):
        tell(str(results.folder / name))
