"""Measures speed, memory and what encoders and codecs change; every figure in docs/ of that kind comes from here."""
