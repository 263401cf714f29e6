#!/bin/sh
# Starts the API's web server, for the Lambda Web Adapter on AWS and for what stands for it on one machine.
set -eu

# The functions and their packages lie beside this script; boto3 comes with Lambda's own Python.
PYTHONPATH="${LAMBDA_TASK_ROOT:-$PWD}${LAMBDA_RUNTIME_DIR:+:$LAMBDA_RUNTIME_DIR}${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH

exec "${PYTHON:-python}" -m uvicorn chat_api.app:app \
    --host 127.0.0.1 --port "${AWS_LWA_PORT:-${PORT:-8080}}" \
    --no-access-log --no-server-header --log-level warning
