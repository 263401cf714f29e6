"""A web server as the app has one: it streams, and it tells what it knows."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from chat_api.dependencies import keep_alive

app = FastAPI()


@app.get("/api/health")
def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/api/stream")
async def stream(pieces: int = 10, pause: float = 0.1, name: str = "", width: int = 0) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        written, ended = 0, "cancelled"
        try:
            for number in range(pieces):
                yield f"data: {number}\n\n".encode() + b"." * width
                written += 1
                await asyncio.sleep(pause)
            ended = "complete"
        finally:
            print(f"stream {name} {ended} after {written}", flush=True)

    return StreamingResponse(body(), media_type="text/event-stream")


@app.api_route("/api/slow", methods=["GET", "POST"])
@app.api_route("/api/hasty/slow", methods=["GET", "POST"])
async def slow(seconds: float, name: str = "") -> dict[str, bool]:
    print(f"slow {name} begun", flush=True)
    await asyncio.sleep(seconds)
    print(f"slow {name} ended", flush=True)
    return {"ok": True}


@app.post("/api/hasty/stall")
async def stall(seconds: float, name: str) -> StreamingResponse:
    """Begin to answer, and say nothing for a while."""

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(seconds)
        print(f"stall {name} ended", flush=True)
        yield b" and half"

    return StreamingResponse(body(), media_type="text/plain")


@app.post("/api/hasty/whole")
async def whole_in_time(seconds: float) -> Response:
    """Answer in one piece, as late as asked, kept alive as the app keeps its own answers alive."""

    async def work() -> Response:
        await asyncio.sleep(seconds)
        return JSONResponse({"waited": seconds})

    return await keep_alive.json_in_time(work(), first=1.0, between=0.5)


@app.get("/api/break")
async def break_off() -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(0.05)
        raise RuntimeError("broken on purpose")

    return StreamingResponse(body(), media_type="text/plain")


@app.api_route("/api/echo/{rest:path}", methods=["GET", "POST", "PUT"])
async def echo(request: Request, rest: str) -> dict[str, Any]:
    body = await request.body()
    print(f"echo says {rest}", flush=True)
    return {
        "path": request.url.path,
        "query": request.query_params.multi_items(),
        "headers": dict(request.headers),
        "context": json.loads(request.headers["x-amzn-request-context"]),
        "length": len(body),
        "process": os.getpid(),
        "identity": boto3.client("sts").get_caller_identity()["Arn"] if rest == "whoami" else "",
        "version": os.environ.get("VERSION_OF_TEST", ""),
    }


@app.get("/api/status/{status}")
def answer(status: int) -> Response:
    if status == 0:
        os._exit(1)  # as a process that is killed for its memory
    return Response(status_code=status, headers={"Retry-After": "5"} if status == 503 else {})


@app.get("/api/forbidden")
def forbidden() -> str:
    """Say what AWS answers to something that the function's role may not do."""
    try:
        boto3.client("dynamodb").list_tables()
    except ClientError as error:
        return str(error)
    return "allowed"


@app.get("/whole/{what}")
def whole(what: str) -> dict[str, Any]:
    return {"what": what, "at": time.time()}


@app.post("/api/uploads")
def upload(name: str) -> dict[str, Any]:
    bucket = os.environ["UPLOADS_BUCKET"]
    form = boto3.client("s3", config=Config(signature_version="s3v4")).generate_presigned_post(
        bucket, name, Conditions=[["content-length-range", 1, 100]], ExpiresIn=60
    )
    form["url"] = f"{os.environ['BROWSER_ENDPOINT']}/aws/s3/{bucket}"
    return form
