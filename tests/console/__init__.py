"""The console in a real browser against a real server. One server and one browser serve every test here."""
