"""Measure how reading time grows with file size, on files with repeats that could cause quadratic time."""
