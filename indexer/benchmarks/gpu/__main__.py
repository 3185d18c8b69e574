"""`python -m indexer.benchmarks.gpu`: measure a card, print its tables, write them into a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from indexer.benchmarks.gpu.clock import timed
from indexer.benchmarks.gpu.floors import Rates
from indexer.benchmarks.gpu.forward import encoding, end_to_end
from indexer.benchmarks.gpu.http import closed_loop, expectations
from indexer.benchmarks.gpu.plan import FULL, QUICK, GpuPlan
from indexer.benchmarks.gpu.report import BEGIN, END, Note, Result, markdown, summary
from indexer.benchmarks.gpu.retrieval import global_search, patch_search
from indexer.benchmarks.machine import describe
from indexer.benchmarks.markdown_section import has_markers, replace_section

app = typer.Typer(add_completion=False)
Stage = Callable[[GpuPlan, torch.device, Rates], Iterator[Result]]
_STAGES: tuple[Stage, ...] = (encoding, global_search, patch_search, end_to_end, closed_loop)


@app.command()
def bench(
    write: Annotated[
        Path | None, typer.Option(help=f"Markdown file whose text between {BEGIN} and {END} is replaced.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A test run at tiny sizes, also on a CPU; its figures are meaningless.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="A stage to run; repeatable (default: all).")] = None,
) -> None:
    """Measure encoding, retrieval and serving on the CUDA GPU of this machine, in one run.

    Each row has its theoretical limit at the GPU's own copy bandwidth and bf16 matmul rate, which are measured first.
    The encoder has random weights: nothing is downloaded, so only speed is measured. The full run needs 30 GB of host
    memory and 40 GB of GPU memory.

    Example:  python -m indexer.benchmarks.gpu --write docs/performance-gpu.md
    """
    console = Console(stderr=True)
    if write is not None and not has_markers(write, BEGIN, END):
        raise typer.BadParameter(f"no {BEGIN} … {END} section in {write}", param_hint="--write")
    if not torch.cuda.is_available() and not quick:
        raise typer.BadParameter("no CUDA card here: --quick tries the benchmark on the CPU", param_hint="bench-gpu")
    names = [stage.__name__.replace("_", " ") for stage in _STAGES]
    if unknown := [stage_name for stage_name in only or () if stage_name not in names]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(names)}", param_hint="--only")
    plan = QUICK if quick else FULL
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rates = card_rates(plan, device)
    results: list[Result] = [
        Note("copy, read + written", f"{rates.copy / 1e9:.1f} GB/s"),
        Note(f"bf16 product of {plan.square}²", f"{rates.matmul / 1e12:.3g} TFLOP/s"),
    ]
    failed = []
    for name, stage in zip(names, _STAGES, strict=True):
        if only and name not in only:
            continue
        console.print(name)
        try:
            for result in stage(plan, device, rates):
                console.print(f"  {summary(result)}", markup=False, highlight=False)
                results.append(result)
        except Exception as error:  # whatever one stage meets, the others are measured
            console.print_exception()
            failed.append(name)
            results.append(Note(name, f"failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"))
    results.extend(expectations(plan, device, results))
    if device.type == "cuda":
        peak_bytes = torch.cuda.max_memory_allocated(device)
        results.append(Note("GPU memory, peak of this process", f"{peak_bytes / 1e9:.1f} GB"))
    text = markdown(describe(), results)
    print(text)
    if write is not None:
        replace_section(write, text, BEGIN, END)
    if failed:
        console.print(f"failed: {', '.join(failed)}", markup=False)
        raise typer.Exit(1)


def card_rates(plan: GpuPlan, device: torch.device) -> Rates:
    """The best of several copies and bf16 products."""
    source = torch.ones(plan.copied, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    # Random values: a card multiplies zeros and ones faster than it multiplies anything that is real.
    left = torch.randn((plan.square, plan.square), dtype=torch.bfloat16, device=device)
    copied = timed(lambda: target.copy_(source), device, plan.repeats)
    multiplied = timed(lambda: left @ left, device, plan.repeats)
    return Rates(2 * plan.copied / copied.percentile(0), 2 * plan.square**3 / multiplied.percentile(0))


if __name__ == "__main__":
    app()
