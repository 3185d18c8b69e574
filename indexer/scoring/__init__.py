"""Scores one image against a memory: anomaly map, image score, the numbers that a verdict looks at."""
