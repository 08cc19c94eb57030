"""One file for each step of the schema, numbered in order."""
