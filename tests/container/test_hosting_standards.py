"""AWS's hosting standards, which are in vLLM's container, load the bundle's middleware by our variables."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import name_adapter
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES

# As vLLM does: the adapter of the header overwrites the body's `model`, and a model without a header answers.
SERVER = """
import json, sys
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
import model_hosting_container_standards.sagemaker as standards

app = FastAPI()

@app.get("/ping")
@standards.register_ping_handler
async def ping(request: Request):
    return {"up": True}

@app.post("/invocations")
@standards.register_invocation_handler
@standards.stateful_session_manager()
@standards.inject_adapter_id("model")
async def invocations(request: Request):
    body = json.loads(await request.body())
    header = request.headers.get("X-Amzn-SageMaker-Adapter-Identifier")
    return {"header": header, "model": body.get("model")}

standards.bootstrap(app)
client = TestClient(app)
asked = [client.post("/invocations", json=body).json() for body in json.loads(sys.argv[1])]
print(json.dumps([client.get("/ping").status_code, *asked]))
"""


@pytest.mark.aws_fact
def test_the_containers_own_loader_finds_the_middleware_and_the_body_chooses_the_adapter(
    tmp_path: Path,
) -> None:
    shutil.copy(str(name_adapter.__file__), tmp_path / "name_adapter.py")
    bodies = [{"model": "v2", "messages": []}, {"messages": []}]
    variables = {**CONTAINER_VARIABLES, "SAGEMAKER_MODEL_PATH": str(tmp_path)}
    command = [sys.executable, "-c", SERVER, json.dumps(bodies)]
    said = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    ).stdout
    ping, chosen, unnamed = json.loads(said.splitlines()[-1])
    assert ping == 200
    assert chosen == {"header": "v2", "model": "v2"}
    assert unnamed["header"] is None
