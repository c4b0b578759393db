"""Objects of a Google Cloud Storage bucket: listed, read, written and removed, each whole or not at all.

An object appears when its upload is complete, and listings are never remembered. What passes is tried again, checksums
are compared, and what goes wrong is one sentence. Whether a place is a bucket or a folder is `storage`'s to know.
"""

from __future__ import annotations

import functools
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
PATIENCE = 60.0  # seconds in which a request is tried again, where the place's own options do not say otherwise
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
class Object:
    """An object as its bucket tells it; each time it is written it gets another generation."""

    name: str  # without its prefix
    size: int
    generation: int
    changed_at: datetime


@functools.cache
def connect() -> Client:
    """One client for each process, with Application Default Credentials."""
    from google.cloud.storage import Client

    return Client(project=None)  # objects belong to a bucket; no project need be known


def require_bucket(place: UPath) -> None:
    """See that there is such a bucket; Dagster's log manager only says that an invariant failed.

    Raises:
        BucketError: there is none, or it may not be looked at.
    """
    with _told(place, "used"):
        if not _bucket(place).exists(**_trying(place)):
            raise _no_bucket(place)


def check_listing(place: str, *, patience: float) -> None:
    """See that what MLflow or Dagster keeps there can be listed, where they would wait for long or tell little.

    Raises:
        OSError: it cannot, and it is in a bucket.
    """
    if place.startswith(SCHEME):
        list_objects(UPath(place, patience=patience))


def find(place: UPath) -> Object | None:
    """What the bucket says of an object; None where there is none."""
    with _told(place, "read"):
        blob = _bucket(place).get_blob(_name(place), **_trying(place))
        return None if blob is None else _object(blob)


def list_objects(folder: UPath) -> list[Object]:
    """The objects directly in a folder."""
    with _told(folder, "listed"):
        blobs = _listing(folder, "items(name,size,generation,updated),nextPageToken")
        return [_object(blob) for blob in blobs if not blob.name.endswith("/")]  # the console makes a folder that way


def list_folders(folder: UPath) -> list[str]:
    """The names of the folders in a folder that hold anything."""
    with _told(folder, "listed"):
        listing = _listing(folder, "prefixes,nextPageToken")
        return sorted(prefix.split("/")[-2] for page in listing.pages for prefix in page.prefixes)


def read(place: UPath) -> str:
    """The content of a small text.

    Raises:
        FileNotFoundError: there is none.
    """
    with _told(place, "read"):
        return _blob(place).download_as_bytes(**_trying(place)).decode()


def download(place: UPath, target: Path, generation: int) -> None:
    """Stream an object, as it was written by that generation, into a local file.

    Raises:
        FileNotFoundError: there is none.
    """
    with _told(place, "read"):
        _blob(place, generation=generation).download_to_filename(str(target), **_trying(place))


@contextmanager
def open_object(place: UPath, generation: int | None) -> Iterator[BlobReader]:
    """An object, as it was written by that generation, as a file of which only what is read is fetched."""
    with _told(place, "read"), _blob(place, generation=generation).open("rb", **_trying(place)) as file:
        yield file


def write(place: UPath, text: str) -> None:
    """Write a small text; browsers are told what its name says that it is."""
    kind = mimetypes.guess_type(place.name)[0] or "text/plain"
    with _told(place, "written"):
        _blob(place).upload_from_string(text, content_type=f"{kind}; charset=utf-8", **_trying(place))


def upload(source: Path, place: UPath) -> None:
    """Stream a local file into an object."""
    with _told(place, "written"):
        _blob(place, chunk_size=_CHUNK).upload_from_filename(str(source), **_trying(place))


def remove(place: UPath) -> None:
    """Remove an object, if there is one."""
    from google.api_core.exceptions import NotFound

    with _told(place, "removed"):
        try:
            _blob(place).delete(**_trying(place))
        except NotFound:
            return


# --- asking the bucket ----------------------------------------------------------------------------------------


def _bucket(place: UPath) -> Bucket:
    client: Callable[[], Client] = place.storage_options.get("connect", connect)
    return client().bucket(place.drive)


def _name(place: UPath) -> str:
    return place.path.removeprefix(place.drive).strip("/")


def _blob(place: UPath, **options: Any) -> Blob:
    return _bucket(place).blob(_name(place), **options)


def _listing(folder: UPath, fields: str) -> Any:
    prefix = f"{_name(folder)}/".removeprefix("/")
    return _bucket(folder).list_blobs(prefix=prefix, delimiter="/", fields=fields, **_trying(folder))


def _object(blob: Blob) -> Object:
    return Object(blob.name.rpartition("/")[2], blob.size, blob.generation, blob.updated)


def _trying(place: UPath) -> dict[str, Any]:
    """How a request is tried: all of ours may be repeated, as each names the whole of what is to be."""
    return {"timeout": (_CONNECT_SECONDS, _READ_SECONDS), "retry": _retry(place.storage_options.get("patience"))}


def _retry(seconds: float | None) -> Retry:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_delay(initial=0.5, maximum=10.0).with_timeout(PATIENCE if seconds is None else seconds)


# --- what goes wrong ------------------------------------------------------------------------------------------


@contextmanager
def _told(place: UPath, done: str) -> Iterator[None]:
    try:
        yield
    except error_types(place) as error:
        raise explain_error(error, str(place), done) from error


def error_types(place: str | UPath) -> tuple[type[Exception], ...]:
    """What Google's libraries raise, where the place is a bucket; for an except clause only, as it imports them."""
    if not str(place).startswith(SCHEME):
        return ()
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    return GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, RequestException


def explain_error(error: Exception, place: str, done: str) -> OSError:
    """The error as one sentence: the place, what could not be done, why, and what to do."""
    from google.api_core.exceptions import Forbidden, NotFound, RetryError, Unauthorized
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    cause = error.cause if isinstance(error, RetryError) and error.cause else error
    what = f"{place} cannot be {done}"
    said = _said(cause)
    if isinstance(cause, DefaultCredentialsError):
        return BucketError(f"{what}: there are no Google credentials here ({said}); {_LOG_IN}.")
    if isinstance(cause, RefreshError | Unauthorized):
        return BucketError(f"{what}: the Google credentials have expired or are not accepted ({said}); {_LOG_IN}.")
    if isinstance(cause, Forbidden):
        return BucketError(f"{what}: it is not permitted ({said}); give this account {_ROLES}, then run again.")
    if isinstance(cause, NotFound):
        if done == "read":
            return not_found(place)
        return _no_bucket(place)
    if isinstance(error, RetryError) or isinstance(cause, TransportError | OSError):
        return BucketError(f"{what}: Google Cloud Storage could not be reached ({said}); run again once it can.")
    return BucketError(f"{what}: {said}; run again, and if that does not help, see to what it names.")


def _no_bucket(place: str | UPath) -> BucketError:
    name = str(place).split("/")[2]
    return BucketError(f"{place} cannot be used: there is no bucket {name}; make it, or correct the address.")


def not_found(place: str | UPath) -> FileNotFoundError:
    """There is no such object."""
    return FileNotFoundError(f"{place} does not exist; run what makes it first.")


def _said(error: BaseException) -> str:
    """The shortest of what it says: Google's own message, else what lies at its bottom."""
    from google.auth.exceptions import GoogleAuthError

    if message := _message(error):
        return message
    if isinstance(code := getattr(error, "code", None), int):
        return f"{int(code)} {type(error).__name__}"
    while not isinstance(error, GoogleAuthError) and (below := error.__cause__ or error.__context__):
        error = below
    return _line(getattr(error, "strerror", None) or (str(error.args[0]) if error.args else type(error).__name__))


def _message(error: Any) -> str:
    """Of Google's answer; nothing where there is none, or it is a proxy's."""
    try:
        return _line(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].rstrip(".")
