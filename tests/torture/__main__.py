"""`make torture`: everything that takes too long for the tests. docs/reliability.md has the results.

usage: python -m tests.torture [overload | kills | outage | clock | soak | fuzz] …
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from pathlib import Path

TRIALS = {
    "overload": ("overload", {"seconds": 30.0}),
    "kills": ("kills", {"kills": 200}),
    "outage": ("outage", {"seconds": 30.0}),
    "clock": ("clock", {}),
    "fuzz": ("fuzz", {"examples": 100}),
    "soak": ("soak", {"minutes": 21.0}),
}


def main(names: list[str]) -> None:
    """Run these trials, or all, and print a line about each; the first that fails ends it with its trace."""
    for name in names or TRIALS:
        module, sizes = TRIALS[name]
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"touchstone-{name}-") as folder:
            failures = getattr(importlib.import_module(f"tests.torture.{module}"), module)(Path(folder), **sizes)
        print(f"{name} ({time.monotonic() - begun:.0f} s): {failures}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
