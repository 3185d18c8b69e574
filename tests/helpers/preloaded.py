"""The imports of the process from which others are forked."""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when the libraries are loaded

import faiss  # noqa: F401
import psycopg  # noqa: F401

import indexer.catalogue.migrations  # noqa: F401
import service.cli.app
import service.server  # noqa: F401
import touchstone_line_agent.agent  # noqa: F401
from service.app import api_routes

for route in (*api_routes(open_access=True), *api_routes(open_access=False)):
    route.matches({"type": "http", "method": "GET", "path": "/"})  # which reads what they expect, when first asked

gc.collect()
gc.freeze()  # so that no fork looks through it again, which would copy it
