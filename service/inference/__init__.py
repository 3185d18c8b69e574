"""Runs images through the encoder and the search: decoding, queues and batches, one image's detection."""
