"""References of one data folder: files, catalogue, memory bank."""
