"""No log line, response or error contains a key or a password."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from indexer.catalogue.catalogue import Catalogue
from service.auth import NewApiKey, Role, generate_api_key
from service.observability import logs
from service.settings import Settings
from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess
from tests.helpers.trace_collector import collector

PASSWORD = "correct-horse-battery"


def test_no_secret_is_in_anything_that_a_server_writes_or_answers(tmp_path: Path, postgres: PostgresServer) -> None:
    database = postgres.new_database(migrated=True)
    url = make_url(database).set(password=PASSWORD).render_as_string(hide_password=False)
    catalogue = Catalogue.open(database)
    good, ended = generate_api_key("engineer", Role.ENGINEER), generate_api_key("ended", Role.ENGINEER)
    stranger = generate_api_key("stranger", Role.ADMIN)
    for generated in (good, ended):
        catalogue.api_keys.create(generated.key)
    catalogue.api_keys.revoke(ended.key.id)
    catalogue.close()
    answers: list[str] = []
    with collector() as (endpoint, received):
        settings = {"ACCESS": "keys", "DATABASE_URL": url, "TRACES_ENDPOINT": endpoint, "REFRESH_INTERVAL_MS": "100"}
        with ServerProcess(tmp_path / "data", **settings) as server:
            server.wait_until_live()

            def ask(method: str, path: str, **more: object) -> int:
                response = server.client.request(method, path, **more)  # type: ignore[arg-type]
                answers.append(f"{response.headers} {response.text}")
                return response.status_code

            for key, status in ((good, 200), (ended, 401), (stranger, 401)):
                headers = {"Authorization": f"Bearer {key.token}"}
                assert ask("GET", "/categories", headers=headers) == status
                assert ask("GET", "/categories", params={"key": key.token}) == 401
                assert ask("GET", f"/references/{key.token}", headers=headers) in (401, 404)
                assert ask("GET", f"/{key.token}/{key.token}", headers=headers) in (401, 404)
                assert ask("GET", "/categories", headers={"Authorization": key.token}) == 401
                assert ask("PATCH", "/categories/disc", headers=headers, json={"k": key.token}) in (401, 422, 404)
                body = {"category": "disc", "token": key.token}
                assert ask("POST", "/references", headers=headers, data=body, files=files(part(1))) in (401, 422)
            keyed = {"Authorization": f"Bearer {good.token}"}
            assert ask("POST", "/references", headers=keyed, data={"category": "disc"}, files=files(part(1))) == 200
            with missing_table(database):  # an error with a trace
                assert ask("GET", "/references", headers=keyed) == 500
            postgres.stop()  # an error every 100 ms
            try:
                assert ask("GET", "/references", headers=keyed) == 503
                assert (
                    ask(
                        "GET",
                        "/categories",
                        headers={"Authorization": f"Bearer {generate_api_key('x', Role.LINE).token}"},
                    )
                    == 503
                )
                end = time.monotonic() + 60
                while "failed and is retried" not in server.log.read_text():
                    assert time.monotonic() < end
                    time.sleep(0.05)
            finally:
                postgres.start()
            for path in ("/metrics", "/version", "/readyz", "/openapi.json"):
                ask("GET", path, headers=keyed)
            server.stop()
            written = server.log.read_text()
    traces = " ".join(map(str, received))
    assert "Traceback" in written
    assert "ts_…" in written
    assert "POST /references" in traces
    assert_discreet(written, good, ended, stranger)
    assert_discreet(" ".join(answers), good, ended, stranger)
    assert_discreet(traces, good, ended, stranger)
    postgres.drop(database)


@contextmanager
def missing_table(database: str) -> Iterator[None]:
    """The table of the references has another name meanwhile."""
    engine = create_engine(database)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE reference RENAME TO elsewhere")
        yield
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO reference")
    finally:
        engine.dispose()


def assert_discreet(text: str, *keys: NewApiKey) -> None:
    """Check that there is no key, no part of one that opens, no stored hash, no password."""
    for key in keys:
        for secret in (key.token, key.token.split("_", 2)[2], key.key.digest):
            assert secret not in text
    assert PASSWORD not in text


def test_settings_do_not_show_what_is_in_their_urls() -> None:
    settings = Settings(
        database_url=f"postgresql://touchstone:{PASSWORD}@database/touchstone",
        traces_endpoint=f"https://me:{PASSWORD}@collector.example/v1/traces",
    )
    assert PASSWORD not in repr(settings) + str(settings)


@pytest.mark.parametrize("style", [logs.JsonLines, logs.PlainText])
def test_a_password_in_a_url_and_a_key_do_not_reach_the_log(style: type[logs.JsonLines | logs.PlainText]) -> None:
    key = generate_api_key("x", Role.LINE)
    record = logs.logging.LogRecord(
        "x", 20, "x", 1, "at postgresql://me:%s@host/db with %s!", (PASSWORD, key.token), None
    )
    line = style().format(record)
    assert_discreet(line, key)
    assert "at postgresql://…@host/db with ts_…!" in line


def test_a_command_that_cannot_reach_its_database_does_not_repeat_the_password(tmp_path: Path) -> None:
    url = f"postgresql://touchstone:{PASSWORD}@127.0.0.1:1/touchstone"
    with ServerProcess(tmp_path / "data", DATABASE_URL=url, environment={**os.environ}) as server:
        assert server.process.wait(60) == 2
        [line] = server.log.read_text().splitlines()
        assert "127.0.0.1" in line
        assert PASSWORD not in line
