"""Brings a published encoder into a folder that a plant without internet can be given, checked as it comes."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from indexer.domain.errors import EncoderError
from indexer.hub.names import CONFIG, folder_name, repository_of
from indexer.hub.published import PUBLISHED, Published, gated

SUMS = "SHA256SUMS"
_WANTED = (CONFIG, "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json", "LICENSE*")
_BLOCK = 1 << 20
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)

Report = Callable[[str, int, int], None]  # told a file's name, its bytes so far, and in all (0: unknown)


@dataclass(frozen=True)
class _File:
    """A file to bring. size: bytes; sha256: hex, or its first digits; each None where nobody says."""

    url: str
    target: Path
    size: int | None
    sha256: str | None


def fetch(name: str, folder: Path, report: Report) -> Path:
    """Bring an encoder by the name it has in `PUBLISHED`, or any of the hub's, into a folder of encoders.

    Returns what `TOUCHSTONE_ENCODER` is to be set to. What is there already is checked and kept; a file that was cut is
    continued. EncoderError, one line, when it cannot be had; OSError when it cannot be written.
    """
    published = next((entry for entry in PUBLISHED if entry.name == name), None)
    if published is not None and published.url is not None:
        return _fetch_checkpoint(published, published.url, folder, report)
    target = folder / folder_name(name)
    headers = build_hf_headers()
    sums = {}
    for file in _files(name, target):
        try:
            sums[file.target.name] = _bring(file, headers, report)
        except httpx.HTTPError as error:
            raise EncoderError(_reason(error, name)) from error
    lines = [f"{digest}  {filename}\n" for filename, digest in sorted(sums.items())]
    (target / SUMS).write_text("".join(lines), encoding="utf-8")
    return target


def _files(name: str, target: Path) -> Iterator[_File]:
    """What is wanted of a model's repository, at its newest revision."""
    repository = repository_of(name)
    try:
        about = HfApi().model_info(repository, files_metadata=True)
    except Exception as error:  # of the hub, or of whichever HTTP client its library uses
        raise EncoderError(_reason(error, name)) from error
    # Files of the repository itself: a name with a folder could lead out of the target.
    top = [
        sibling for sibling in about.siblings or [] if "/" not in sibling.rfilename and "\\" not in sibling.rfilename
    ]
    wanted_files = [sibling for sibling in top if any(fnmatch.fnmatch(sibling.rfilename, like) for like in _WANTED)]
    names = {sibling.rfilename for sibling in wanted_files}
    if CONFIG not in names or not any(filename.endswith(".safetensors") for filename in names):
        raise EncoderError(f"{repository} on the hub has no config.json and safetensors: it is not an encoder")
    for sibling in wanted_files:
        url = hf_hub_url(repository, sibling.rfilename, revision=about.sha)
        yield _File(url, target / sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else None)


def _fetch_checkpoint(published: Published, url: str, folder: Path, report: Report) -> Path:
    target = folder / published.name
    if published.by_hand:
        raise EncoderError(
            f"{published.name} can be downloaded with a browser only: get it from {url} and store it as {target}"
        )
    # Meta's names end in the first digits of the checksum.
    digits = re.search(r"-([0-9a-f]{8})\.", url.rpartition("/")[2])
    try:
        digest = _bring(_File(url, target, None, digits[1] if digits else None), {}, report)
    except httpx.HTTPError as error:
        raise EncoderError(_reason(error, published.name)) from error
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return target


def _bring(file: _File, headers: Mapping[str, str], report: Report) -> str:
    """Bring one file; returns its sha256. EncoderError when it is not what was announced."""
    file.target.parent.mkdir(parents=True, exist_ok=True)
    if file.target.is_file():
        size, hasher = file.target.stat().st_size, hashlib.sha256()
        _read(file.target, hasher.update)
        if _as_announced(file, hasher.hexdigest(), size):
            report(file.target.name, size, size)
            return hasher.hexdigest()
    part = file.target.with_name(f"{file.target.name}.part")
    digest, size = _stream(file, part, headers, report)
    if not _as_announced(file, digest, size):
        part.unlink()
        raise EncoderError(
            f"{file.target.name} is damaged: its size or checksum differs from the published one; fetch again"
        )
    part.replace(file.target)
    return digest


def _stream(file: _File, part: Path, headers: Mapping[str, str], report: Report) -> tuple[str, int]:
    """Append to what came before; returns sha256 (hex) and size of the whole."""
    have = part.stat().st_size if part.is_file() else 0
    requested = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with httpx.stream("GET", file.url, headers=requested, timeout=_TIMEOUT, follow_redirects=True) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # it is as long as the file, or longer: begin anew
            return _stream(file, part, headers, report)
        response.raise_for_status()
        continued = response.status_code == httpx.codes.PARTIAL_CONTENT
        digest = hashlib.sha256()
        done = have if continued else 0
        if continued:
            _read(part, digest.update)
        total = done + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if continued else "wb") as target:
            for block in response.iter_raw():
                target.write(block)
                digest.update(block)
                done += len(block)
                report(file.target.name, done, total)
    if total and done < total:
        raise httpx.ReadError(f"the connection ended after {done} of {total} bytes; fetch again to resume")
    return digest.hexdigest(), done


def _as_announced(file: _File, digest: str, size: int) -> bool:
    return (file.size is None or size == file.size) and digest.startswith(file.sha256 or "")


def _read(path: Path, use: Callable[[bytes], object]) -> None:
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            use(block)


def _reason(error: Exception, name: str) -> str:
    """One line for an error of the hub or its client."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or (status in (401, 403) and not isinstance(error, RepositoryNotFoundError)):
        return gated(name)
    if isinstance(error, RepositoryNotFoundError | HFValidationError) or status == httpx.codes.NOT_FOUND:
        return f"{name} is no published encoder: see `touchstone encoders` (a private one of the hub needs HF_TOKEN)"
    if isinstance(error, OfflineModeIsEnabled):
        return f"{name} cannot be fetched while HF_HUB_OFFLINE is set"
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{name} cannot be fetched: {first}"
