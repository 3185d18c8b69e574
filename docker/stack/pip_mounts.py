"""Writes a pip.conf like this machine's for a build, and prints the buildah options that mount what it names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

CERTIFICATES = "/run/stack/certificates.pem"


def main(written: Path) -> None:
    """Read `pip config list`; environment variables count like configuration files."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    options: dict[str, list[str]] = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        if name.startswith((":env:.", "global.")):
            found = options.setdefault(name.split(".", 1)[1], [])
            found += [part for part in ast.literal_eval(value).split() if part not in found]
    mounts = [f"{written}:/etc/pip.conf:ro"]
    if "cert" in options:
        mounts.append(f"{options['cert'][0]}:{CERTIFICATES}:ro")
        options["cert"] = [CERTIFICATES]
    paths = {word.removeprefix("file://") for words in options.values() for word in words}
    for path in sorted(Path(path) for path in paths if path.startswith("/") and Path(path).exists()):
        shown = path.parent if path.name == "simple" else path  # an index's pages link to files beside it
        mounts.append(f"{shown}:{shown}:ro")
    lines = [f"{name} = " + "\n    ".join(words) for name, words in options.items()]
    written.write_text("[global]\n" + "\n".join(lines) + "\n")
    print("\n".join(f"--volume={mount}" for mount in mounts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
