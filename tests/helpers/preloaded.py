"""The imports of the process from which others are forked."""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when the libraries are loaded

import faiss  # noqa: F401
import psycopg  # noqa: F401

import indexer.catalogue.migrations  # noqa: F401
import service.app
import service.cli
import service.server  # noqa: F401
import touchstone_line_agent.agent  # noqa: F401

gc.collect()
gc.freeze()  # so that no fork looks through it again, which would copy it
