"""Log formats: one JSON object per line, or plain text."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


# A key that somebody sent in a path, and a password in a URL that an error repeats.
_SECRET = re.compile(r"ts_[0-9a-f]{12}_[A-Za-z0-9_-]{43}|(?<=://)[^/@\s:]*:[^@\s]+(?=@)")


def redact(text: str) -> str:
    """The text without API keys, and without names and passwords inside URLs."""
    return _SECRET.sub(lambda match: "ts_…" if match[0].startswith("ts_") else "…", text)


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, `request_id`, `exception` and what `extra` has."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; line breaks inside it are escaped, so that a line is always one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False, default=str))


class PlainText(logging.Formatter):
    """Lines for people: the time, the level, the message, and whatever else the record knows."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, with its exception, if any, below."""
        fields = {} if (current := request_id.get()) is None else {"request_id": current}
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        facts = "".join(f" {name}={value}" for name, value in fields.items())
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return redact(f"{at} {record.levelname.lower():7} {record.getMessage()}{facts}{trace}")


def configure(style: Literal["json", "text"]) -> None:
    """Send everything that is logged in this process, the HTTP server's lines too, to standard error in one style."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else PlainText())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
