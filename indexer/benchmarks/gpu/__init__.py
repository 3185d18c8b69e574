"""`make bench-gpu`: what encoding, retrieval and serving cost on a card, each beside the least it could cost there."""
