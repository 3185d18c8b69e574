"""What the API takes and answers, as pydantic models, a subject a file: the product's contract with its clients."""
