"""`touchstone keys`: creating, listing and revoking keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.catalogue.catalogue import Catalogue
from service.auth.api_key_cache import ApiKeyCache
from tests.helpers.commands import touchstone


def test_a_key_is_created_listed_and_revoked(tmp_path: Path, database: str) -> None:
    assert touchstone("migrate", data=tmp_path, DATABASE_URL=database).exit_code == 0
    made = touchstone("keys", "create", "press-4", "--days", "30", data=tmp_path, DATABASE_URL=database)
    assert (made.exit_code, made.stderr) == (0, "")
    catalogue = Catalogue.open(database)
    ring = ApiKeyCache(catalogue.api_keys)
    ring.refresh()
    key = ring.check(made.stdout.strip())
    assert key is not None
    assert (key.name, key.role) == ("press-4", "line")
    listed = touchstone("keys", "list", data=tmp_path, DATABASE_URL=database)
    assert listed.stdout.split()[:3] == [key.id, "line", "usable"]
    assert made.stdout.strip() not in listed.stdout
    assert touchstone("keys", "revoke", key.id, data=tmp_path, DATABASE_URL=database).exit_code == 0
    ring.refresh()
    assert ring.check(made.stdout.strip()) is None
    [revoked, created] = catalogue.audit.entries().items
    assert (revoked.action, created.action) == ("key.revoked", "key.created")
    assert created.actor == f"command of user {os.getuid()}"
    catalogue.close()


def test_errors_are_one_line(tmp_path: Path) -> None:
    assert touchstone("migrate", data=tmp_path).exit_code == 0
    for words, said in (
        (("keys", "revoke", "nope"), "there is no key 'nope'"),
        (("keys", "create", ""), "the name is empty"),
    ):
        done = touchstone(*words, data=tmp_path)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == f"touchstone: {said}\n"
    refused = touchstone("serve", "--open", "--host", "0.0.0.0", data=tmp_path)
    assert refused.exit_code == 2
    assert "loopback" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [("--days", "1e300"), ("--days", "36501"), ("--days", "-1"), ("--requests-per-minute", "99999999999999999999")],
    ids=" ".join,
)
def test_limits_are_those_of_the_api(tmp_path: Path, options: tuple[str, str]) -> None:
    assert touchstone("migrate", data=tmp_path).exit_code == 0
    refused = touchstone("keys", "create", "press-4", *options, data=tmp_path)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Invalid value" in refused.stderr
    assert touchstone("keys", "list", data=tmp_path).stdout == ""
