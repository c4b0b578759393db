"""The least that any server of these trees does: one row of encoded numbers in, one margin out, nothing checked."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import onnxruntime
import orjson
import uvicorn


def main() -> None:
    """Serve the ONNX file that is named, on the port that is named."""
    file, port = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        (row,) = orjson.loads((await receive())["body"])["instances"]
        margin = session.run(None, {"X": np.array([row], dtype=np.float32)})[0][0, 0]
        body = orjson.dumps({"predictions": [1 / (1 + math.exp(-margin))]})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(
        app,
        port=int(port),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
    )


if __name__ == "__main__":
    main()
