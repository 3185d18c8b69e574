"""The card's figures as Markdown: every row with its floor and how far above it the median lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.benchmarks.cpu.stages import Expectation
from indexer.benchmarks.gpu.clock import Latencies

BEGIN, END = "<!-- bench-gpu:begin -->", "<!-- bench-gpu:end -->"
_VERDICTS = {True: "met", False: "not met", None: "not measured"}


@dataclass(frozen=True)
class Line:
    """One measurement. images: processed in each repetition. floor: seconds, or None where none can be given.

    served: images a second, where several repetitions ran at once.
    """

    what: str
    at: str
    latencies: Latencies
    images: int = 1
    floor: float | None = None
    remark: str = ""
    served: float | None = None

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.latencies.median if self.served is None else self.served


@dataclass(frozen=True)
class Note:
    """A figure that is no latency, or why something could not be measured."""

    what: str
    said: str


Result = Line | Note | Expectation


def summary(result: Result) -> str:
    """One line to follow a run by."""
    if isinstance(result, Line):
        return f"{result.what}, {result.at}: {result.latencies.median * 1e3:.3g} ms, {result.rate:.4g} images/s"
    if isinstance(result, Note):
        return f"{result.what}: {result.said}"
    return f"{result.claim}: {result.figure}"


def markdown(machine: str, results: Sequence[Result]) -> str:
    """Three tables: expectations, latencies, the rest."""
    lines = [f"Machine: {machine}.", "", "| Expected | Found | |", "|---|---|---|"]
    lines += [f"| {r.claim} | {r.figure} | {_VERDICTS[r.met]} |" for r in results if isinstance(r, Expectation)]
    lines += [
        "",
        "| Measured | At | p50 ms | p95 | p99 | images/s | floor ms | × floor | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        if isinstance(result, Line):
            p50, p95, p99 = (result.latencies.percentile(share) * 1e3 for share in (50, 95, 99))
            floor = (
                ("–", "–") if result.floor is None else (f"{result.floor * 1e3:.3g}", f"{p50 / result.floor / 1e3:.2f}")
            )
            lines.append(
                f"| {result.what} | {result.at} | {p50:.3g} | {p95:.3g} | {p99:.3g} | {result.rate:.4g} "
                f"| {floor[0]} | {floor[1]} | {result.remark} |"
            )
    lines += ["", "| Also | |", "|---|---|"]
    lines += [f"| {result.what} | {result.said} |" for result in results if isinstance(result, Note)]
    return "\n".join(lines)
