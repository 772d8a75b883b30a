"""One-line changes to the code that a test must notice."""
