"""Writes inspections to the history, idempotently and without stopping detection."""
