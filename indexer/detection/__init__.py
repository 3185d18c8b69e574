"""Detects anomalies in one image: its verdict, its regions, the reference that each region is nearest to."""
