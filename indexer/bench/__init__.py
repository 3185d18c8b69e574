"""`make bench`: what encoding, retrieval and growth cost on this machine, beside the least they could cost."""
