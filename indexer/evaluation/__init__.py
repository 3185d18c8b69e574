"""Evaluation on labelled data sets, with the functions the service inspects with."""
