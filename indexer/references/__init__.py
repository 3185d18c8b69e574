"""The references of one data folder: files, catalogue and memory bank kept in step."""
