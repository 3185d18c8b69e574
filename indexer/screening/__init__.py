"""Screening: what is wrong with an image that is offered as a reference."""
