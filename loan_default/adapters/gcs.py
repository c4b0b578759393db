"""Objects of a Google Cloud Storage bucket: listed, read, written and removed, each whole or not at all.

An object appears when its upload is complete, and listings are never remembered. What passes is tried again, checksums
are compared, and what goes wrong is one sentence. Whether a path lies in a bucket or a folder is `storage`'s to know.
"""

from __future__ import annotations

import functools
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob, Bucket, Client
    from google.cloud.storage.fileio import BlobReader

SCHEME = "gs://"
PATIENCE = 60.0  # seconds in which a request is tried again, where the path's own options do not say otherwise
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0  # of one try
_CHUNK = 16 * 1024 * 1024  # bytes of a large file that are in memory while it is sent
_ROLES = "roles/storage.objectUser and roles/storage.legacyBucketReader on the bucket"
_LOG_IN = (
    "attach a service account to this machine, run gcloud auth application-default login, or name a key file in "
    "GOOGLE_APPLICATION_CREDENTIALS"
)


class BucketError(OSError):
    """A bucket refused or could not be reached; the message says which, why and what to do."""


@dataclass(frozen=True)
class BucketObject:
    """An object as its bucket lists it; each time it is written it gets another generation."""

    name: str  # without its prefix
    size: int
    generation: int
    changed_at: datetime


@functools.cache
def connect() -> Client:
    """Return the process's client, with Application Default Credentials."""
    from google.cloud.storage import Client

    return Client(project=None)  # objects belong to a bucket; no project need be known


def require_bucket(path: UPath) -> None:
    """Check that the bucket exists; Dagster's log manager only says that an invariant failed.

    Raises:
        BucketError: there is none, or it may not be looked at.
    """
    with _explaining_errors(path, "used"):
        if not _bucket(path).exists(**_patience_options(path)):
            raise _no_bucket(path)


def check_listing(path: str, *, patience: float) -> None:
    """Check that a folder of MLflow's or Dagster's can be listed; they would wait for long, or tell little.

    Raises:
        OSError: it cannot, and it is in a bucket.
    """
    if path.startswith(SCHEME):
        list_objects(UPath(path, patience=patience))


def find(path: UPath) -> BucketObject | None:
    """Look an object up; None where there is none."""
    with _explaining_errors(path, "read"):
        blob = _bucket(path).get_blob(_name(path), **_patience_options(path))
        return None if blob is None else _object(blob)


def list_objects(folder: UPath) -> list[BucketObject]:
    """List the objects directly in a folder."""
    with _explaining_errors(folder, "listed"):
        # As they were answered: to make Google's object of each takes most of the time of listing thousands.
        pages = _listing(folder, "items(name,size,generation,updated),nextPageToken").pages
        items = [item for page in pages for item in page.raw_page.get("items", ())]
    return [_listed(item) for item in items if not item["name"].endswith("/")]  # the console makes a folder that way


def list_folders(folder: UPath) -> list[str]:
    """List the names of the folders in a folder that hold anything."""
    with _explaining_errors(folder, "listed"):
        listing = _listing(folder, "prefixes,nextPageToken")
        return sorted(prefix.split("/")[-2] for page in listing.pages for prefix in page.prefixes)


def read(path: UPath) -> bytes:
    """Read a small object.

    Raises:
        FileNotFoundError: there is none.
    """
    with _explaining_errors(path, "read"):
        content: bytes = _blob(path).download_as_bytes(**_patience_options(path))
        return content


def download(path: UPath, target: Path, generation: int) -> None:
    """Stream an object, as it was written by that generation, into a local file.

    Raises:
        FileNotFoundError: there is none.
    """
    with _explaining_errors(path, "read"):
        _blob(path, generation=generation).download_to_filename(str(target), **_patience_options(path))


@contextmanager
def open_object(path: UPath, generation: int | None) -> Iterator[BlobReader]:
    """Open an object, as that generation wrote it, as a file; only what is read of it is fetched."""
    with (
        _explaining_errors(path, "read"),
        _blob(path, generation=generation).open("rb", **_patience_options(path)) as file,
    ):
        yield file


def write(path: UPath, text: str) -> None:
    """Write a small text, with the content type that its name says."""
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    with _explaining_errors(path, "written"):
        _blob(path).upload_from_string(text, content_type=f"{kind}; charset=utf-8", **_patience_options(path))


def upload(source: Path, path: UPath) -> None:
    """Stream a local file into an object."""
    with _explaining_errors(path, "written"):
        _blob(path, chunk_size=_CHUNK).upload_from_filename(str(source), **_patience_options(path))


def upload_once(source: Path, path: UPath) -> None:
    """Stream a local file into an object, unless it is there: an account that may only add files replaces none."""
    from google.api_core.exceptions import PreconditionFailed

    with _explaining_errors(path, "written"), suppress(PreconditionFailed):
        blob = _blob(path, chunk_size=_CHUNK)
        blob.upload_from_filename(str(source), if_generation_match=0, **_patience_options(path))


def remove(path: UPath) -> None:
    """Remove an object, if there is one."""
    from google.api_core.exceptions import NotFound

    with _explaining_errors(path, "removed"):
        try:
            _blob(path).delete(**_patience_options(path))
        except NotFound:
            return


# --- asking the bucket ----------------------------------------------------------------------------------------


def _bucket(path: UPath) -> Bucket:
    client: Callable[[], Client] = path.storage_options.get("connect", connect)
    return client().bucket(path.drive)


def _name(path: UPath) -> str:
    return path.path.removeprefix(path.drive).strip("/")


def _blob(path: UPath, **options: Any) -> Blob:
    return _bucket(path).blob(_name(path), **options)


def _listing(folder: UPath, fields: str) -> Any:
    prefix = f"{_name(folder)}/".removeprefix("/")
    return _bucket(folder).list_blobs(prefix=prefix, delimiter="/", fields=fields, **_patience_options(folder))


def _listed(item: Mapping[str, str]) -> BucketObject:
    changed_at = datetime.fromisoformat(item["updated"])
    return BucketObject(item["name"].rpartition("/")[2], int(item["size"]), int(item["generation"]), changed_at)


def _object(blob: Blob) -> BucketObject:
    return BucketObject(blob.name.rpartition("/")[2], blob.size, blob.generation, blob.updated)


def _patience_options(path: UPath) -> dict[str, Any]:
    """Return timeout and retries: all requests may be repeated, as each names the whole of what is to be."""
    return {"timeout": (_CONNECT_SECONDS, _READ_SECONDS), "retry": _retry(path.storage_options.get("patience"))}


def _retry(seconds: float | None) -> Retry:
    from google.cloud.storage.retry import DEFAULT_RETRY

    patient: Retry = DEFAULT_RETRY.with_delay(initial=0.5, maximum=10.0)
    return patient.with_timeout(PATIENCE if seconds is None else seconds)


# --- errors --------------------------------------------------------------------------------------------------


@contextmanager
def _explaining_errors(path: UPath, action: str) -> Iterator[None]:
    """Raise what goes wrong meanwhile as one sentence, in which `action` is a participle: read, listed, written."""
    try:
        yield
    except error_types(path) as error:
        raise explain_error(error, str(path), action) from error


def error_types(path: str | UPath) -> tuple[type[Exception], ...]:
    """Return what Google's libraries raise where the path is a bucket's; for an except clause, as it imports them."""
    if not str(path).startswith(SCHEME):
        return ()
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    return GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, RequestException


def explain_error(error: Exception, path: str, action: str) -> OSError:
    """Turn an error into one sentence: the path, what could not be done, why, and what to do."""
    from google.api_core.exceptions import Forbidden, NotFound, RetryError, Unauthorized
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    cause = error.cause if isinstance(error, RetryError) and error.cause else error
    failure = f"{path} cannot be {action}"
    detail = _detail_of(cause)
    if isinstance(cause, DefaultCredentialsError):
        return BucketError(f"{failure}: there are no Google credentials here ({detail}); {_LOG_IN}.")
    if isinstance(cause, RefreshError | Unauthorized):
        return BucketError(f"{failure}: the Google credentials have expired or are not accepted ({detail}); {_LOG_IN}.")
    if isinstance(cause, Forbidden):
        return BucketError(f"{failure}: it is not permitted ({detail}); give this account {_ROLES}, then run again.")
    if isinstance(cause, NotFound):
        if action == "read":
            return not_found(path)
        return _no_bucket(path)
    if isinstance(error, RetryError) or isinstance(cause, TransportError | OSError):
        return BucketError(f"{failure}: Google Cloud Storage could not be reached ({detail}); run again once it can.")
    return BucketError(f"{failure}: {detail}; run again, and if that does not help, see to what it names.")


def _no_bucket(path: str | UPath) -> BucketError:
    name = str(path).split("/")[2]
    return BucketError(f"{path} cannot be used: there is no bucket {name}; make it, or correct the address.")


def not_found(path: str | UPath) -> FileNotFoundError:
    """Say that there is no such object."""
    return FileNotFoundError(f"{path} does not exist; run what makes it first.")


def _detail_of(error: BaseException) -> str:
    """Return the shortest of what the error says: Google's own message, else what lies at its bottom."""
    from google.auth.exceptions import GoogleAuthError

    if message := _message(error):
        return message
    if isinstance(code := getattr(error, "code", None), int):
        return f"{int(code)} {type(error).__name__}"
    while not isinstance(error, GoogleAuthError) and (below := error.__cause__ or error.__context__):
        error = below
    return _line(getattr(error, "strerror", None) or (str(error.args[0]) if error.args else type(error).__name__))


def _message(error: Any) -> str:
    """Return the message of Google's answer; nothing where there is none, or it is a proxy's."""
    try:
        return _line(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].rstrip(".")
