"""`touchstone encoders` against a server that answers as the hub does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from indexer.domain.errors import EncoderError
from indexer.encoders import EncoderSettings, load_encoder
from indexer.hub import fetching, published
from indexer.hub.published import PUBLISHED, Published
from tests.helpers.commands import run_in
from tests.helpers.forked import ForkedProcess
from tests.helpers.published import published as tiny

NAME = "timm:vit_base_patch16_dinov3.lvd1689m"
FOLDER = "vit_base_patch16_dinov3.lvd1689m"
REPOSITORY = f"timm/{FOLDER}"


@dataclass
class Hub:
    """Repositories by name, each its files; and how it behaves."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    cut_after: int | None = None  # bytes of an answer that are sent
    damage: bool = False
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and range

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.requests.append((path, handler.headers.get("Range")))
        if match := re.fullmatch(r"/api/models/(.+?/.+?)(/revision/.*)?", path):
            self._about(handler, match[1])
        elif match := re.fullmatch(r"/(.+?/.+?)/resolve/abc123/(.+)", path):
            self._file(handler, match[1], match[2])
        else:
            self._send(handler, 404, b"{}")

    def _about(self, handler: BaseHTTPRequestHandler, repository: str) -> None:
        if repository not in self.files:
            self._send(handler, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        siblings = []
        for name, data in self.files[repository].items():
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append({"rfilename": name, "size": len(data)} | ({"lfs": lfs} if "safetensors" in name else {}))
        about = {
            "_id": "1",
            "id": repository,
            "modelId": repository,
            "sha": "abc123",
            "siblings": siblings,
            "private": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
        }
        self._send(handler, 200, json.dumps(about).encode())

    def _file(self, handler: BaseHTTPRequestHandler, repository: str, name: str) -> None:
        if self.gated:
            self._send(handler, 403, b"Access restricted", {"X-Error-Code": "GatedRepo"})
            return
        data = self.files[repository][name]
        if self.damage and name.endswith("safetensors"):
            data = data[:-1] + b"!"
        start = int(re.findall(r"\d+", handler.headers.get("Range", "0"))[0])
        if start >= len(data):
            self._send(handler, 416, b"")
            return
        self._send(handler, 206 if start else 200, data[start:])

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if self.cut_after is not None and len(body) > self.cut_after:
            handler.wfile.write(body[: self.cut_after])
            handler.wfile.flush()
            handler.connection.close()
            return
        handler.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    model = tiny()["vit_base_patch16_dinov3"].save(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.files[REPOSITORY] = files | {
        "LICENSE.md": b"terms",
        "README.md": b"words",
        "pytorch_model.bin": b"a pickle",
        "model/../../../evil.safetensors": b"out of the folder",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


def touchstone(hub: Hub | None, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, whose hub is the test's; without one nothing can be reached."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TOUCHSTONE_"))}
    environment |= {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HOME": str(cwd / "hf")}
    output, errors = cwd / "output", cwd / "errors"
    process = ForkedProcess(run_in, cwd, "encoders", *arguments, environment=environment, output=output, errors=errors)
    code = process.wait(120)
    return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2, done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("touchstone: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in done.stderr


def test_an_encoder_is_fetched_checked_loaded_and_can_be_carried(hub: Hub, tmp_path: Path) -> None:
    done = touchstone(hub, "fetch", NAME, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"TOUCHSTONE_ENCODER=encoders/{FOLDER}" in done.stdout
    assert "DINOv3, https://ai.meta.com" in done.stdout
    folder = tmp_path / "encoders" / FOLDER
    assert not list(tmp_path.rglob("evil*"))
    assert load_encoder(EncoderSettings(str(folder), (1, 2), 32, 32, "cpu")).space.encoder == FOLDER
    carried = tmp_path / "plant"
    folder.rename(carried)


def test_what_is_there_and_whole_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    touchstone(hub, "fetch", NAME, cwd=tmp_path)
    hub.requests.clear()
    assert touchstone(hub, "fetch", NAME, cwd=tmp_path).returncode == 0
    assert [path for path, _ in hub.requests if "/resolve/" in path] == []
    weights = tmp_path / "encoders" / FOLDER / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")  # damaged since
    assert touchstone(hub, "fetch", NAME, cwd=tmp_path).returncode == 0
    assert weights.read_bytes() == hub.files[REPOSITORY]["model.safetensors"]


def test_an_interrupted_download_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 100_000
    done = touchstone(hub, "fetch", NAME, cwd=tmp_path)
    refused(done, "cannot be fetched")
    folder = tmp_path / "encoders" / FOLDER
    assert not (folder / "model.safetensors").exists()
    part = (folder / "model.safetensors.part").stat().st_size
    assert 0 < part <= 100_000
    hub.cut_after = None
    assert touchstone(hub, "fetch", NAME, cwd=tmp_path).returncode == 0
    assert (f"/{REPOSITORY}/resolve/abc123/model.safetensors", f"bytes={part}-") in hub.requests
    assert (folder / "model.safetensors").read_bytes() == hub.files[REPOSITORY]["model.safetensors"]
    assert not list(folder.glob("*.part"))


def test_a_part_longer_than_the_file_is_begun_anew(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / FOLDER
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(bytes(10_000_000))
    assert touchstone(hub, "fetch", NAME, cwd=tmp_path).returncode == 0
    assert (folder / "model.safetensors").read_bytes() == hub.files[REPOSITORY]["model.safetensors"]


def test_a_damaged_download_is_refused_and_no_file_remains(hub: Hub, tmp_path: Path) -> None:
    hub.damage = True
    refused(touchstone(hub, "fetch", NAME, cwd=tmp_path), "model.safetensors is damaged")
    assert not list((tmp_path / "encoders" / FOLDER).glob("model*"))


def test_the_error_for_a_gated_encoder_names_an_ungated_copy(hub: Hub, tmp_path: Path) -> None:
    name = "facebook/dinov3-vitb16-pretrain-lvd1689m"
    hub.files[name], hub.gated = hub.files[REPOSITORY], True
    done = touchstone(hub, "fetch", name, cwd=tmp_path)
    refused(done, f"accept its licence on huggingface.co/{name} and set HF_TOKEN; {NAME} is the same without a form")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:no_such_model", "is no published encoder: see `touchstone encoders`"),
        ("some/text-model", "has no config.json and safetensors"),
        ("a/b/c", "is no published encoder"),
        (
            "D-iGPT_B_PT_1K.pth",
            "get it from https://github.com/OliverRensu/D-iGPT#checkpoint and store it as encoders/D-iGPT",
        ),
    ],
)
def test_what_cannot_be_fetched_is_one_line(hub: Hub, tmp_path: Path, name: str, says: str) -> None:
    hub.files["some/text-model"] = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
    refused(touchstone(hub, "fetch", name, cwd=tmp_path), says)


def test_without_a_network_fetching_says_so(tmp_path: Path) -> None:
    refused(touchstone(None, "fetch", NAME, cwd=tmp_path), "cannot be fetched")


def test_the_list_tells_licence_size_gate_and_what_is_here(hub: Hub, tmp_path: Path) -> None:
    touchstone(hub, "fetch", NAME, cwd=tmp_path)
    (tmp_path / "encoders" / "vit-b-300ep.pth.tar").write_bytes(b"")
    tiny()["vit_base_patch16_224"].save(tmp_path / "encoders" / "our-own")
    (tmp_path / "encoders" / "our-other.pth").write_bytes(b"")
    done = touchstone(None, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
        for line in done.stdout.splitlines()
        if line.startswith("│")
    }
    assert lines[NAME] == ["DINOv3", "ViT-B", "16", "86 M", "DINOv3", "", "encoders"]
    assert lines["facebook/dinov3-vitb16-pretrain-lvd1689m"][-2:] == ["form", ""]
    assert lines["vit-b-300ep.pth.tar"][-1] == "encoders"
    assert lines["encoders/our-own"][-1] == "encoders"
    assert lines["encoders/our-other.pth"][-1] == "encoders"
    assert lines["builtin"][-1] == "yes"


def test_what_the_hubs_client_downloaded_is_here_too(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hf/hub/models--timm--vit_base_patch16_224.dino/snapshots/abc"
    tiny()["vit_base_patch16_224"].save(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    done = touchstone(None, cwd=tmp_path)
    [line] = [line for line in done.stdout.splitlines() if "vit_base_patch16_224.dino" in line]
    assert "hub cache" in line


def test_a_checkpoint_elsewhere_is_fetched_under_its_own_name_and_checked_by_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"weights" * 100_000
    digits = hashlib.sha256(data).hexdigest()[:8]
    hub.files["dl/x"] = {f"teacher-{digits}.pth": data, "teacher-00000000.pth": data}
    seen = list[tuple[str, int, int]]()

    def entry(name: str) -> Published:
        return Published("ours.pth", "x", "ViT-B", 16, 86, "MIT", url=f"{hub.url}/dl/x/resolve/abc123/{name}")

    monkeypatch.setattr(fetching, "PUBLISHED", (entry(f"teacher-{digits}.pth"),))
    path = fetching.fetch("ours.pth", tmp_path / "encoders", lambda *now: seen.append(now))
    assert path == tmp_path / "encoders/ours.pth"
    assert path.read_bytes() == data
    assert seen[-1] == ("ours.pth", len(data), len(data))
    subprocess.run(["sha256sum", "-c", "ours.pth.sha256"], cwd=path.parent, check=True, capture_output=True)
    path.unlink()
    monkeypatch.setattr(fetching, "PUBLISHED", (entry("teacher-00000000.pth"),))
    with pytest.raises(EncoderError, match="is damaged"):
        fetching.fetch("ours.pth", tmp_path / "encoders", lambda *_: None)


def test_every_encoder_of_the_papers_table_is_listed() -> None:
    stored = json.loads((Path(published.__file__).parents[1] / "evaluation/paper.json").read_text())
    names = {encoder.name for encoder in PUBLISHED}
    stems = {name.partition(".pth")[0] for name in names}
    for encoder, published_as in stored["encoders"].items():
        assert names & set(published_as) or stems & set(published_as), encoder
    assert len(names) == len(PUBLISHED)
    families = {encoder.family for encoder in PUBLISHED}
    assert set(stored["encoders"]) <= families
