"""Calibration: what good parts measure, held out one by one, and the thresholds that follow."""
