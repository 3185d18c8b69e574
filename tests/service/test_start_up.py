"""What `touchstone serve` loads until it is ready: seconds of start-up are nearly all imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import touchstone
from tests.helpers.server_process import free_port

# Each takes tenths of a second or more, and is loaded when somebody needs it.
NOT_NEEDED = {
    *("alembic", "psycopg"),  # migrations, PostgreSQL
    *("transformers", "openvino", "onnx", "onnxruntime", "triton", "ray"),  # other encoders, runtimes and devices
    *("torch._dynamo", "torch._inductor", "torch.onnx", "sympy"),  # compiling
    *("reportlab", "opentelemetry.sdk", "httpx", "rich"),  # PDF reports, traces, clients, progress bars
    *("sklearn", "scipy", "pandas", "matplotlib"),  # `touchstone evaluate`
}
# Runs the command, and once it is ready says what there is and ends it.
_SERVE = """
import gc, os, signal, sys, threading, time, urllib.request

def look():
    while True:
        try:
            urllib.request.urlopen("http://127.0.0.1:{port}/readyz").close()
            break
        except OSError:
            time.sleep(0.05)
    print(gc.isenabled(), gc.get_freeze_count())
    print(*sys.modules, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look, daemon=True).start()
from service.cli.app import app
app(["serve", "--open", "--data", {data!r}, "--port", "{port}"])
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that a server with a data folder prints once it is ready."""
    data: Path = tmp_path_factory.mktemp("start") / "data"
    assert touchstone("migrate", data=data, sized=False).exit_code == 0
    code = _SERVE.format(port=free_port(), data=str(data))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_only_some_need_is_not_imported(ready: list[str]) -> None:
    modules = set(ready[-1].split())
    assert {"torch", "service.app", "indexer.encoders.builtin.encoder"} <= modules
    assert NOT_NEEDED & modules == set()


def test_what_stays_is_not_looked_through_for_garbage(ready: list[str]) -> None:
    enabled, frozen = ready[-2].split()
    assert enabled == "True"
    assert int(frozen) > 100_000
