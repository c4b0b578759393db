"""Ask a service a question that it can answer only if it works; end with 0 where it does, else say why not.

The health checks of `compose.yaml` run it in the images, whose packages differ: the standard library has to do.

    healthy.py URL                  the answer's status must be 200
    healthy.py URL BODY EXPECTED    JSON is posted, and the answer must hold this text

`MLFLOW_AUTH_ADMIN_USERNAME` and its password are sent where they are set.
"""

import base64
import os
import sys
import urllib.error
import urllib.request

_SECONDS = 8.0


def trouble(url: str, body: str = "", expected: str = "") -> str:
    """Return what is wrong; empty where nothing is."""
    headers = {"Content-Type": "application/json"} if body else {}
    if name := os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME"):
        login = f"{name}:{os.environ.get('MLFLOW_AUTH_ADMIN_PASSWORD', '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(url, body.encode() or None, headers)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            text = answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read().decode(errors='replace')[:500]}"
    except OSError as error:
        return f"{url} does not answer: {error}"
    return "" if expected in text else f"{url} answers without {expected}: {text[:500]}"


if __name__ == "__main__":
    sys.exit(trouble(*sys.argv[1:]) or 0)
