"""Chooses among scorings of a category on its labelled test set, by cross-validation."""
