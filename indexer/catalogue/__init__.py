"""What exists, in SQL: categories, references, the segments that hold them, and the inspections made with them."""
