#!/bin/sh
exec python -m uvicorn --no-access-log --port "$PORT" main:app
