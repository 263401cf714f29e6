"""Find chapters, titles and works."""
