"""A command as a process: what ends it early, and what becomes of output that cannot be written.

Imports next to nothing, so that a signal that arrives while the command is still being loaded ends it in one line, too.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

_OUTPUT_LOST = 74  # EX_IOERR: the work is done, and what it printed did not arrive
_SIGNALLED = 128  # added to a signal's number, as shells do


class _Signalled(BaseException):
    """SIGINT or SIGTERM has arrived: no error, so that nothing but clean-up handles it on its way out."""

    def __init__(self, number: int) -> None:
        self.number = number


class _OutputLost(BaseException):
    """Standard output cannot be written; no error of a command's own files, which it would report as such."""

    def __init__(self, error: OSError) -> None:
        self.error = error


class _Output(io.TextIOWrapper):
    """Standard output that tells its failures from all others."""

    def write(self, text: str, /) -> int:
        """See `io.TextIOBase.write`. _OutputLost."""
        try:
            return super().write(text)
        except OSError as error:
            raise _OutputLost(error) from None

    def flush(self) -> None:
        """See `io.IOBase.flush`. _OutputLost."""
        try:
            super().flush()
        except OSError as error:
            raise _OutputLost(error) from None


def run_process(load: Callable[[], Callable[[], Any]]) -> NoReturn:
    """Run a command to its end and exit. load: imports it, which takes a while, and returns it.

    SIGINT and SIGTERM end it with one line and 130 or 143 once it has cleaned up; a second one ends it at once. Closed
    output ends it quietly with 74, output that cannot be written with one line and 74.
    """
    _open_standard_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of `nohup`, or a script's background job
            signal.signal(number, _raise)
    try:
        try:
            load()()
        finally:
            sys.stdout.flush()
    except _Signalled as signalled:
        print(f"touchstone: ended by {signal.Signals(signalled.number).name}", file=sys.stderr)
        sys.exit(_SIGNALLED + signalled.number)
    except _OutputLost as lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what the interpreter flushes as it ends
        if not isinstance(lost.error, BrokenPipeError):
            print(f"touchstone: the output cannot be written: {lost.error.strerror}", file=sys.stderr)
        sys.exit(_OUTPUT_LOST)
    sys.exit(0)


def _raise(number: int, _: FrameType | None) -> NoReturn:
    for later in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(later) is _raise:
            signal.signal(later, signal.SIG_DFL)
    raise _Signalled(number)


def _open_standard_streams() -> None:
    """Give a process whose standard output or error was closed one that nobody reads."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper):
        plain = sys.stdout
        encoding, errors, by_line = plain.encoding, plain.errors, plain.line_buffering
        sys.stdout = _Output(plain.detach(), encoding=encoding, errors=errors, line_buffering=by_line)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
