"""Detection: patch distances become a score, an anomaly map, a verdict, regions and their nearest patches."""
