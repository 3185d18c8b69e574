"""Jobs on a whole data folder: bulk indexing, re-encoding, repair, backups."""
