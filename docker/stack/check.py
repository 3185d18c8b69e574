"""Onboards and detects through the stack's TLS proxy, kills its containers under load, and looks for what was lost."""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

sys.path.insert(0, os.environ["APP"])

from tests.helpers.part_images import part

ROUNDS = int(os.environ.get("ROUNDS", "12"))
VICTIMS = ("service", "database", "proxy")
COMPOSE = [f"{os.environ['DOCKER_CONFIG']}/cli-plugins/docker-compose"]
PATIENCE = 90  # seconds in which a killed container has to be back


def compose(*arguments: str) -> str:
    ran = subprocess.run([*COMPOSE, *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, f"{' '.join(arguments)}: {ran.stderr}"
    return ran.stdout


def connect() -> httpx.Client:
    """A client that trusts the proxy's own authority only."""
    root = compose("exec", "-T", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    token = compose("exec", "-T", "service", "touchstone", "keys", "create", "stack", "--role", "engineer").strip()
    return httpx.Client(
        base_url="https://localhost:8443",
        verify=ssl.create_default_context(cadata=root),
        timeout=60,
        headers={"Authorization": f"Bearer {token}"},
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def files(*seeds: int) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (f"{seed}.png", part(seed), "image/png")) for seed in seeds]


def references(client: httpx.Client) -> dict[int, str]:
    found: dict[int, str] = {}
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/references", params={"limit": "1000", **cursor}).json()
        for reference in page["references"]:
            assert reference["id"] not in found, "a reference is listed twice"
            found[reference["id"]] = reference["filename"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


class Load:
    """Onboards, removes and detects without a pause, and remembers what was acknowledged."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.added: dict[int, str] = {}
        self.removed: set[int] = set()
        self.maybe_removed: set[int] = set()
        self.detections = 0
        self.refused: dict[str, int] = {}
        self.wrong: list[str] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self._onboard, self._detect)]
        for thread in self.threads:
            thread.start()

    def _answered(self, response: httpx.Response) -> bool:
        if response.status_code == 200:
            return True
        kind = response.json()["type"]
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if response.status_code not in (502, 503, 504) and kind != "/problems/internal":
            self.wrong.append(response.text)
        time.sleep(0.2)
        return False

    def _onboard(self) -> None:
        rng, seed = random.Random(1), 1000
        while not self.ended.is_set():
            seed += 2
            try:
                response = self.client.post("/references", data={"category": "disc"}, files=files(seed, seed + 1))
                if self._answered(response):
                    self.added |= {result["reference_id"]: result["filename"] for result in response.json()["results"]}
                if rng.random() < 0.3 and self.added:
                    victim = rng.choice(sorted(self.added))
                    self.maybe_removed.add(victim)
                    if self._answered(self.client.delete(f"/references/{victim}")):
                        self.removed.add(victim)
                        del self.added[victim]
            except httpx.TransportError:
                self.refused["connection"] = self.refused.get("connection", 0) + 1
                time.sleep(0.2)

    def _detect(self) -> None:
        seed = 0
        while not self.ended.is_set():
            seed += 1
            try:
                response = self.client.post("/detect", files=files(seed), data={"category": "disc"})
                self.detections += self._answered(response)
            except httpx.TransportError:
                self.refused["connection"] = self.refused.get("connection", 0) + 1
                time.sleep(0.2)

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def crash(service: str) -> None:
    """SIGKILL a container's first process from outside: what an engine is asked to kill, it does not restart."""
    container = compose("ps", "-q", service).strip()
    found = subprocess.run(["podman", "inspect", "-f", "{{.State.Pid}}", container], capture_output=True, text=True)
    os.kill(int(found.stdout), signal.SIGKILL)


def wait_until_ready(client: httpx.Client) -> float:
    begun = time.monotonic()
    while time.monotonic() < begun + PATIENCE:
        try:
            if client.get("/readyz").status_code == 200 and client.get("/references?limit=1").status_code == 200:
                return time.monotonic() - begun
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready within {PATIENCE} s")


def check_monitoring(client: httpx.Client) -> int:
    """Prometheus scrapes the service, has our rules, and understands every query of the dashboard; returns how many."""

    def ask(path: str) -> dict[str, object]:
        response = compose("exec", "-T", "prometheus", "wget", "-q", "-O", "-", f"http://127.0.0.1:9090/api/v1/{path}")
        read: dict[str, object] = json.loads(response)
        assert read["status"] == "success", read
        return read["data"]  # type: ignore[return-value]

    end = time.monotonic() + 60
    while not (up := ask("query?query=up")["result"]) or up[0]["value"][1] != "1":  # type: ignore[index]
        assert time.monotonic() < end, up
        time.sleep(2)
    [group] = ask("rules")["groups"]  # type: ignore[misc]
    assert all(rule["health"] in ("ok", "unknown") for rule in group["rules"])  # type: ignore[index]
    dashboard = json.loads((Path(os.environ["APP"]) / "deploy/grafana/dashboards/touchstone.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for query in queries:
        ask(f"query?{httpx.QueryParams(query=query)}")
    assert client.get("/metrics").status_code == 404, "the proxy shows the metrics outside"
    return len(queries)


def main() -> None:
    client = connect()
    wait_until_ready(client)
    stranger = client.get("/references", headers={"Authorization": "Bearer ts_nobody"})
    assert stranger.status_code == 401, stranger.text
    response = client.post("/references", data={"category": "disc"}, files=files(*range(30)))
    assert response.status_code == 200, response.text
    assert response.json()["added"] == 30
    # A third of these parts are near-duplicates of others, which do not count: 5 % would need 19 that do.
    client.patch("/categories/disc", json={"false_reject_rate": 0.1}).raise_for_status()
    end = time.monotonic() + 60
    while client.get("/categories/disc").json()["calibration"]["state"] != "ready" and time.monotonic() < end:
        time.sleep(0.5)
    bad = client.post("/detect", files=[("images", ("bad.png", part(5, scratched=True), "image/png"))]).json()[
        "results"
    ][0]
    assert bad["verdict"] == "anomalous", bad
    print(f"onboarded 30, calibrated, a scratched part is {bad['verdict']} (p = {bad['p_value']:.3f})", flush=True)
    print(f"Prometheus answers all {check_monitoring(client)} queries of the dashboard", flush=True)

    rng, back = random.Random(7), []
    load = Load(client)
    for number in range(ROUNDS):
        time.sleep(rng.uniform(1, 4))
        victim = VICTIMS[number % len(VICTIMS)]
        crash(victim)
        back.append(wait_until_ready(client))
        print(f"killed {victim}: ready again after {back[-1]:.1f} s", flush=True)
    time.sleep(2)
    load.end()
    wait_until_ready(client)
    found = references(client)
    lost = {
        number: name
        for number, name in load.added.items()
        if number not in load.maybe_removed and found.get(number) != name
    }
    risen = load.removed & found.keys()
    assert not load.wrong, load.wrong[:3]
    assert not lost, f"acknowledged and lost: {lost}"
    assert not risen, f"taken back and there again: {risen}"
    assert len(set(found.values())) == len(found), "an image became two references"
    score = [
        client.post("/detect", files=files(4), data={"category": "disc"}).json()["results"][0]["score"]
        for _ in range(2)
    ]
    assert score[0] == score[1]
    print(
        f"{ROUNDS} kills: {len(load.added)} references acknowledged, {len(load.removed)} taken back, "
        f"{load.detections} detections; nothing lost. Refused meanwhile: {load.refused}",
        flush=True,
    )


if __name__ == "__main__":
    main()
