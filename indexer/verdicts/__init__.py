"""Verdicts from good parts alone: calibration, unfamiliar pictures, screening of references, drift."""
