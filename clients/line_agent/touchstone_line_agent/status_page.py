"""The agent's web page: errors, ignored files, and the latest parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from touchstone_line_agent.part import PartStatus

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1c2733; background: #fff }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top }
th { border-bottom: 2px solid #1c2733 } tr + tr td { border-top: 1px solid #d5dbe1 }
.error { color: #a8071a; font-weight: 600 } .ok { color: #17653a }
@media (prefers-color-scheme: dark) { body { color: #dfe6ee; background: #14191f } .error { color: #ff8f8f }
.ok { color: #7fd6a4 } th { border-color: #dfe6ee } tr + tr td { border-color: #333c46 } }
"""
_HEADINGS = ("captured", "station", "part", "outcome", "verdict", "decision", "reason", "not sent")


def render_page(
    errors: Mapping[str, Mapping[str, str]], ignored: Mapping[str, Sequence[str]], latest: Iterable[PartStatus]
) -> bytes:
    """HTML. errors: by station and name. ignored: by station, what its source ignores."""
    stations = "".join(
        f"<h2>{escape(name)}</h2>{_errors(by_name)}{_ignored(ignored.get(name, ()))}"
        for name, by_name in errors.items()
    )
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    rows = "".join(f"<tr>{_row(status)}</tr>" for status in latest)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f"<title>Touchstone line agent</title><style>{_STYLE}</style><h1>Touchstone line agent</h1>{stations}"
        f"<h2>Latest parts</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></html>"
    ).encode()


def _errors(by_name: Mapping[str, str]) -> str:
    if not by_name:
        return '<p class="ok">No errors.</p>'
    return "".join(f'<p class="error">{escape(name)}: {escape(error)}</p>' for name, error in by_name.items())


def _ignored(texts: Sequence[str]) -> str:
    return f"<p>ignored: {escape('; '.join(texts))}</p>" if texts else ""


def _row(status: PartStatus) -> str:
    decision, result = status.decision, status.result
    captured = datetime.fromtimestamp(status.part.captured_at).strftime("%Y-%m-%d %H:%M:%S")
    outcome = "" if result is None else result.outcome + (f" ({result.detail})" if result.detail else "")
    cells = (
        captured,
        status.part.station,
        status.part.part_id,
        outcome,
        (result and result.verdict) or "",
        decision.decision if decision else "",
        decision.reason if decision else "",
    )
    errors = {**(decision.not_sent if decision else {}), **status.rejected_by}
    not_sent = "; ".join(f"{sink}: {error}" for sink, error in errors.items())
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells) + f'<td class="error">{escape(not_sent)}</td>'
