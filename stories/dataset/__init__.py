"""Make a dataset of records: drop duplicates, split, build examples, write the report."""
