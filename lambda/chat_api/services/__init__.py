"""What the routes do, without HTTP: import-linter refuses FastAPI and Starlette here."""
