"""Generates the repeated half of the Python client; a development tool, not part of any distribution."""
