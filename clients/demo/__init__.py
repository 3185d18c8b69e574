"""A rendered factory and the tour that shows a Touchstone server finding its defects."""
