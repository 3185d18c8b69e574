"""`make clients` writes the generated modules of the Python client; with `--check` it only compares them."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from clients.generate import models, sync_client
from clients.service_process import running_service

PACKAGE = Path(__file__).parent.parent / "python" / "touchstone_client"


def main() -> int:
    """Exit code 0, or 1 when `--check` finds a module that is not as it would be generated."""
    parser = argparse.ArgumentParser(prog="python -m clients.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something would change")
    arguments = parser.parse_args()
    outdated = outdated_modules(_openapi_document())
    for path, text in outdated.items():
        if not arguments.check:
            path.write_text(text)
        print(f"{path.name}: {'out of date: run `make clients`' if arguments.check else 'written'}", file=sys.stderr)
    return int(arguments.check and bool(outdated))


def outdated_modules(document: Any) -> dict[Path, str]:
    """The modules that differ from what an OpenAPI document and the asynchronous client generate, with their text."""
    sources = {
        PACKAGE / "models.py": models.generate(document),
        PACKAGE / "client.py": sync_client.generate((PACKAGE / "async_client.py").read_text()),
    }
    generated = {path: _formatted(source, path) for path, source in sources.items()}
    return {path: text for path, text in generated.items() if not path.exists() or path.read_text() != text}


def _openapi_document() -> Any:
    """The document of a service started for this, on an empty data folder."""
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as url:
        return httpx.get(f"{url}/openapi.json", trust_env=False, timeout=60).raise_for_status().json()


def _formatted(source: str, path: Path) -> str:
    """The source as ruff sorts and lays it out."""
    fixes = ["check", "--quiet", "--fix", "--unsafe-fixes", "--select", "C416,F401,I,UP028"]
    for command in (fixes, ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        done = subprocess.run(ruff, input=source, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{path.name}: {done.stdout}{done.stderr}")
        source = done.stdout
    return source


if __name__ == "__main__":
    raise SystemExit(main())
