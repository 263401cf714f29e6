"""The library that turns files of stories into a dataset: read, clean, split, build examples, report.

No AWS in it: files come in as binary streams, the dataset goes out as files.
"""
