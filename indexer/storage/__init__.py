"""Crash-safe files of a data folder."""
