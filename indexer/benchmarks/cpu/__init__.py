"""`python -m indexer.benchmarks.cpu`: encoding, retrieval and growth of the memory bank on this machine."""
