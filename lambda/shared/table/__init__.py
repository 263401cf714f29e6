"""The app's one table, and its items."""
