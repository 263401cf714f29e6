"""Turn files of stories into a dataset: read them, clean them, split them, make examples, write a report.

Nothing here calls AWS: files come in as binary streams, the dataset goes out as files.
"""
