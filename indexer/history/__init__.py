"""Retention of the history of inspections."""
