"""The endpoint on one machine: what vLLM's SageMaker container is on a GPU, small enough for two cores.

It reads the same `serving.yaml`, answers `/ping` and `/invocations`, and speaks OpenAI's protocol.

    python -m local.endpoint_server --model-dir DIR --port N
"""
