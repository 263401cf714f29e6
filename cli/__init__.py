"""The storyloom command line: what a writer types instead of opening the page."""
