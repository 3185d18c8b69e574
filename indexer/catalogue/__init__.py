"""All SQL: categories, references, segments, inspections, API keys."""
