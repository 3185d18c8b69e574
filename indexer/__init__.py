"""Everything about references: images, encoders, memory, search, scoring and what is kept on disk. Knows no HTTP."""
