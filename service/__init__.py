"""The HTTP service: routes, settings and the thread that owns the encoder. Imports indexer, never the reverse."""
