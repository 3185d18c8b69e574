"""Files of a data folder that survive a crash."""
