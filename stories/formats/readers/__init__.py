"""One module for each file format, with `SUFFIXES` and `read`."""
