"""The limit on open files: raised if allowed, respected otherwise, and logged briefly when reached."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.server_process import ServerProcess

_ALLOWED = """
import resource
from service.file_descriptors import connections_allowed
print(connections_allowed(512), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ("ulimit -Hn 4096; ulimit -Sn 80", "512 1088"),
        ("ulimit -n 2000", "512 2000"),
        ("ulimit -n 1024", "480 1024"),
        ("ulimit -n 80", "8 80"),
        ("ulimit -n 40", "8 40"),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be_and_connections_are_kept_within_it(limits: str, allowed: str) -> None:
    command = ["bash", "-c", f'{limits}; exec "$0" -c "$1"', sys.executable, _ALLOWED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == allowed
    assert ("only" in done.stderr) == (not allowed.startswith("512"))


def test_connections_waiting_for_a_descriptor_are_logged_briefly_and_served_later(tmp_path: Path) -> None:
    with ExitStack() as stack, ServerProcess(tmp_path / "data").wait_until_live() as server:
        assert server.client.get("/readyz").status_code == 200
        used = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 6, hard))
        before = len(server.log.read_text().splitlines())
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        end = time.monotonic() + 6
        reasons: set[str] = set()
        while time.monotonic() < end:
            response = server.client.get("/readyz")  # over the connection that is open already
            if response.status_code == 503:
                reasons.add(response.json()["detail"])
            time.sleep(0.1)
        lines = server.log.read_text().splitlines()[before:]
        told = [line for line in lines if '"path": "/readyz"' not in line]
        assert len([line for line in told if "New connections wait: too many open files" in line]) == 1
        assert len(told) < 20, told[:3]
        assert len(reasons) == 1
        assert f"too many open files ({used + 6} may be open" in reasons.pop()
        stack.close()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        end = time.monotonic() + 30
        while server.client.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as fresh:
            fresh.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert fresh.recv(100).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0
