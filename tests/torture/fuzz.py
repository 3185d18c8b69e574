"""Every route, with whatever its description allows and whatever it forbids, alone and in sequence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.torture.keyed import KeyedServer


def fuzz(folder: Path, examples: int) -> str:
    """schemathesis with all of its checks and phases, stateful ones too, against a real server."""
    with KeyedServer(folder / "data", LOG_FORMAT="text").wait_until_live() as server:
        body = files(*(part(seed) for seed in range(4)))
        server.client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
        server.client.post("/detect", files=files(part(9))).raise_for_status()
        config = Path(__file__).with_name("schemathesis.toml")
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            f"--config-file={config}",
            "run",
            f"{server.client.base_url}/openapi.json",
            "--checks=all",
            "--mode=all",
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-examples={examples}",
            "--seed=1",
            "--no-color",
            "--generation-database=none",
            "--workers=1",
            f"--header=Authorization: Bearer {server.token}",
        ]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
        log = server.log.read_text()
        assert "Traceback" not in log, log[-4000:]
    [summary] = re.findall(r"Test cases:\n((?:  .*\n)+)", ran.stdout) or [ran.stdout[-1000:]]
    return " ".join(summary.split())
