"""The history of inspections: how long it is stored."""
