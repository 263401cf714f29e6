"""The data report: its model, its words and its page for the writer, one file without scripts."""
