"""Screening: checks images that are offered as references."""
