"""The card's benchmark runs and reports everything it promises, on the CPU too; its floors are counted right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from indexer.benchmarks.gpu import __main__ as command
from indexer.benchmarks.gpu import floors
from indexer.benchmarks.gpu.clock import Latencies
from indexer.benchmarks.gpu.plan import FULL, GpuPlan
from indexer.benchmarks.gpu.report import BEGIN, END, Line, Result, markdown
from indexer.benchmarks.gpu.retrieval import global_search

ROWS = [
    "| encode, ViT-B sized | bfloat16, batch 2 |",
    "| global search, FAISS on the ",
    "| patch search, torch-",
    "| fp16, K = 6, ρ = 0 |",
    "| int8, K = 6, ρ = 1 |",
    "| int8, K = 6, all places |",
    "| encode, built-in | float32, batch 2 |",
    "3 images, 6 references in all |",
    "3 images, 18 references in all |",
    "| cell loop, as the released program |",
    "| torch.bmm on gathered copies |",
    "| FAISS IVF, preassigned lists |",
    "| end to end, in process | batch 3",
    "| detect over HTTP, closed loop | 2 clients, 64 px JPEG |",
    "| copy, read + written |",
    "| bf16 product of ",
    "≤ 5 ms at batch 1",
    "≤ 15 % of the forward pass",
    "≥ 600 images/s",
    "≥ 200× the cell loop",
    "over HTTP within 70 %",
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("bench") / "performance-gpu.md"
    path.write_text(f"# Before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRITON_INTERPRET", raising=False)  # the interpreter would take minutes
        result = CliRunner().invoke(command.app, ["--quick", "--write", str(path)])
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS)
def test_the_report_has_every_row(document: str, row: str) -> None:
    assert row in document


def test_without_a_card_nothing_is_said_to_be_met(document: str) -> None:
    if not torch.cuda.is_available():
        assert "| met |" not in document
        assert "| not met |" not in document


def test_only_the_section_between_the_markers_changes(document: str) -> None:
    assert document.startswith(f"# Before\n{BEGIN}\n")
    assert document.endswith(f"\n{END}\nafter\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_a_card_the_full_benchmark_is_refused_with_what_to_do() -> None:
    result = CliRunner().invoke(command.app, [])
    assert result.exit_code == 2
    assert "--quick" in result.output


def test_a_stage_that_fails_is_named_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: GpuPlan, device: torch.device, rates: floors.Rates) -> Iterator[Result]:
        raise RuntimeError("no room on the card")
        yield

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(command, "_STAGES", (broken, global_search))
    result = CliRunner().invoke(command.app, ["--quick"])
    assert result.exit_code == 1
    assert "| broken | failed: no room on the card |" in result.output
    assert "| global search, FAISS on the " in result.output
    alone = CliRunner().invoke(command.app, ["--quick", "--only", "global search"])
    assert alone.exit_code == 0
    assert "broken" not in alone.output
    unknown = CliRunner().invoke(command.app, ["--quick", "--only", "sorting"])
    assert unknown.exit_code == 2
    assert "'sorting' is none of broken, global search" in unknown.output


def test_the_papers_own_sizes_have_the_floors_that_are_known() -> None:
    fp16 = floors.patch_search(28, 768, "fp16", 150, 1)
    assert fp16.bytes == 150 * 4 * 784 * 768 * 2  # 722.5 MB
    assert floors.patch_search(28, 768, "int8", 150, 1).bytes == 150 * 4 * 784 * 772  # a scale per patch
    assert fp16.operations == 2 * 4 * 150 * 768 * (28 * 3 - 2) ** 2  # 6.2 GFLOP, the border clipped
    assert floors.pairs(28, 0) == 784
    assert floors.pairs(2, 5) == 16
    together = floors.patch_search(28, 768, "fp16", 150, 1, images=16, distinct=150)
    assert (together.bytes, together.operations) == (fp16.bytes, 16 * fp16.operations)
    assert floors.encode(FULL.vit, 28, 1).operations == pytest.approx(157e9, rel=0.02)


def test_a_floor_is_the_longer_of_reading_and_computing() -> None:
    rates = floors.Rates(copy=100, matmul=1000)
    assert rates.floor(floors.Work(200, 1000)) == 2
    assert rates.floor(floors.Work(200, 5000)) == 5


def test_a_row_names_its_floor_and_the_ratio_to_it() -> None:
    line = Line("search", "here", Latencies((0.002, 0.004, 0.006)), images=2, floor=0.001)
    assert "| search | here | 4 | 5.8 | 5.96 | 500 | 1 | 4.00 |" in markdown("m", [line])
