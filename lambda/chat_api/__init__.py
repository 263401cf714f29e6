"""The REST API that the page and programs use."""
