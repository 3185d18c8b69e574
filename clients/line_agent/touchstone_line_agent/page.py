"""The agent's one web page: what does not work, what is passed over, and what became of the latest parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from touchstone_line_agent.parts import Present

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1c2733; background: #fff }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top }
th { border-bottom: 2px solid #1c2733 } tr + tr td { border-top: 1px solid #d5dbe1 }
.bad { color: #a8071a; font-weight: 600 } .well { color: #17653a }
@media (prefers-color-scheme: dark) { body { color: #dfe6ee; background: #14191f } .bad { color: #ff8f8f }
.well { color: #7fd6a4 } th { border-color: #dfe6ee } tr + tr td { border-color: #333c46 } }
"""
_HEADINGS = ("taken", "station", "part", "outcome", "verdict", "decision", "because", "not sent")


def page(
    trouble: Mapping[str, Mapping[str, str]], ignored: Mapping[str, Sequence[str]], latest: Iterable[Present]
) -> bytes:
    """HTML. trouble: by station, what does not work and why. ignored: by station, what its source passes over."""
    stations = "".join(
        f"<h2>{escape(name)}</h2>{_troubles(found)}{_list('passed over', ignored.get(name, ()))}"
        for name, found in trouble.items()
    )
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    rows = "".join(f"<tr>{_row(each)}</tr>" for each in latest)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f"<title>Touchstone line agent</title><style>{_STYLE}</style><h1>Touchstone line agent</h1>{stations}"
        f"<h2>Latest parts</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></html>"
    ).encode()


def _troubles(found: Mapping[str, str]) -> str:
    if not found:
        return '<p class="well">All is well.</p>'
    return "".join(f'<p class="bad">{escape(name)}: {escape(why)}</p>' for name, why in found.items())


def _list(what: str, names: Sequence[str]) -> str:
    return f"<p>{what}: {escape('; '.join(names))}</p>" if names else ""


def _row(each: Present) -> str:
    decided, finding = each.decided, each.finding
    taken = datetime.fromtimestamp(each.part.taken_at).strftime("%Y-%m-%d %H:%M:%S")
    outcome = "" if finding is None else finding.outcome + (f" ({finding.detail})" if finding.detail else "")
    decision, because = ("", "") if decided is None else (decided.decision, decided.because)
    cells = (
        taken,
        each.part.station,
        each.part.part_id,
        outcome,
        (finding and finding.verdict) or "",
        decision,
        because,
    )
    missed = dict(decided.not_sent) if decided is not None else {}
    not_sent = "; ".join(f"{sink}: {why}" for sink, why in {**missed, **each.not_taken}.items())
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells) + f'<td class="bad">{escape(not_sent)}</td>'
