"""Objects of a bucket, by Google's client and an emulator; and through a proxy that refuses, or cuts a connection."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.gcs import BucketError
from loan_default_tests.buckets import HOST, Faults, asked_at, faulty, objects_in
from loan_default_tests.stores import free_port

pytestmark = pytest.mark.integration

LARGE = 20_000_000  # is sent in two chunks
SECONDS = 1.5  # in which requests are tried again here


@pytest.fixture
def root(bucket: UPath) -> UPath:
    return UPath(bucket, patience=SECONDS) / "prefix"


@pytest.fixture
def faults(emulator: str, root: UPath) -> Iterator[Faults]:
    """What lies between this process and the bucket of `root`."""
    with faulty(emulator) as proxy:
        yield proxy


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large.parquet"
    file.write_bytes(bytes(range(256)) * (LARGE // 256))
    return file


OPERATIONS: dict[str, Callable[[UPath, Path], object]] = {
    "written": lambda root, _: gcs.write(root / "a.json", "{}"),
    "uploaded": lambda root, file: gcs.upload(file, root / "large.parquet"),
    "read": lambda root, _: gcs.read(root / "a.json"),
    "listed": lambda root, _: gcs.list_objects(root),
    "looked at": lambda root, _: gcs.require_bucket(root),
    "removed": lambda root, _: gcs.remove(root / "a.json"),
}


def test_an_object_comes_back_and_each_writing_is_another_generation(root: UPath, large: Path, tmp_path: Path) -> None:
    assert gcs.find(root / "large.parquet") is None
    gcs.upload(large, root / "large.parquet")
    first = gcs.find(root / "large.parquet")
    assert first is not None
    assert (first.name, first.size) == ("large.parquet", large.stat().st_size)
    gcs.download(root / "large.parquet", tmp_path / "copy", first.generation)
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    gcs.upload(large, root / "large.parquet")
    assert [entry.generation > first.generation for entry in gcs.list_objects(root)] == [True]
    gcs.remove(root / "large.parquet")
    assert gcs.list_objects(root) == []
    gcs.remove(root / "large.parquet")


def test_a_listing_is_never_remembered(root: UPath) -> None:
    for count in range(1, 4):
        gcs.write(root / f"{count}.csv", "1")
        gcs.write(root / f"day-{count}" / "1.csv", "1")
        assert len(gcs.list_objects(root)) == len(gcs.list_folders(root)) == count


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.html", "text/html"), ("a.json", "application/json"), ("a", "text/plain")],
)
def test_a_browser_is_told_what_a_text_is(root: UPath, name: str, kind: str) -> None:
    gcs.write(root / name, "größer")
    (blob,) = gcs.connect().list_blobs(root.drive)
    assert blob.content_type.split(";")[0] == kind
    assert gcs.read(root / name).decode() == "größer"


def test_a_name_may_hold_what_an_address_would_quote(root: UPath) -> None:
    name = "Bätch 1#?%20+&.csv"
    gcs.write(root / name, "1")
    assert [entry.name for entry in gcs.list_objects(root)] == [name]
    assert gcs.read(root / name) == b"1"


def test_a_large_file_is_never_in_memory_as_a_whole(root: UPath, emulator: str, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    with file.open("wb") as stream:
        stream.truncate(200_000_000)
    script = """
import resource, sys
from pathlib import Path
from upath import UPath
from loan_default.adapters import gcs
root = UPath(sys.argv[1])
gcs.write(root / "small", "1")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gcs.upload(Path(sys.argv[2]), root / "large")
gcs.download(root / "large", Path(sys.argv[2] + ".copy"), gcs.find(root / "large").generation)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    command = [sys.executable, "-c", script, str(root), str(file)]
    grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(grown) < 80, "MB"
    assert Path(f"{file}.copy").stat().st_size == 200_000_000


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "it is not permitted (robot@x does not have storage.gcs.get access); give this account roles/"),
        (404, "there is no bucket BUCKET; make it, or correct the address."),
        (503, "Google Cloud Storage could not be reached (robot@x does not have"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(
    faults: Faults, root: UPath, large: Path, operation: str, status: int, message: str
) -> None:
    faults.status, faults.message = status, "robot@x does not have storage.gcs.get access.\nSee https://…"
    began = time.monotonic()
    if (status, operation) == (404, "removed"):
        OPERATIONS[operation](root, large)
        return
    with pytest.raises(OSError) as error:
        OPERATIONS[operation](root, large)
    assert time.monotonic() - began < gcs.PATIENCE / 2
    if (status, operation) == (404, "read"):
        message = "does not exist"
        assert isinstance(error.value, FileNotFoundError)
    sentence = str(error.value)
    assert sentence.startswith(f"{root}")
    assert message.replace("BUCKET", root.drive) in sentence
    assert "\n" not in sentence
    faults.heal()
    assert objects_in(root) == {}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_answering_is_one_sentence(root: UPath, large: Path, operation: str) -> None:
    with asked_at(f"http://127.0.0.1:{free_port()}"), pytest.raises(BucketError) as error:
        OPERATIONS[operation](root, large)
    assert "Google Cloud Storage could not be reached (Connection refused); run again once it can." in str(error.value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_passes_is_tried_again(faults: Faults, root: UPath, large: Path, operation: str) -> None:
    gcs.write(root / "a.json", "{}")
    faults.status, faults.times = 503, 1
    OPERATIONS[operation](UPath(str(root)), large)
    assert len(faults.requests) == 1


@pytest.mark.parametrize("cut_after", [1, 5_000_000, 17_000_000 - 16 * 1024 * 1024])
def test_an_upload_that_is_cut_off_goes_on_by_itself(faults: Faults, root: UPath, large: Path, cut_after: int) -> None:
    faults.cut_after, faults.times, faults.only = cut_after, 1, "PUT"
    gcs.upload(large, UPath(str(root)) / "large.parquet")
    assert len(faults.requests) == 1
    assert objects_in(root)["large.parquet"] == large.read_bytes()


@pytest.mark.parametrize("before", ["", "the old one"])
def test_an_upload_that_stays_cut_off_shows_nothing_and_is_whole_the_next_time(
    faults: Faults, root: UPath, large: Path, before: str
) -> None:
    if before:
        gcs.write(root / "large.parquet", before)
    faults.cut_after, faults.only = 1_000_000, "PUT"
    with pytest.raises(BucketError, match=r"large\.parquet cannot be written: Google Cloud Storage could not be"):
        gcs.upload(large, root / "large.parquet")
    assert faults.requests
    assert objects_in(root) == ({"large.parquet": before.encode()} if before else {})
    faults.heal()
    gcs.upload(large, root / "large.parquet")
    assert objects_in(root)["large.parquet"] == large.read_bytes()


@pytest.fixture(scope="module")
def private_key() -> str:
    """A key that no account of Google has."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*encoding).decode()


@pytest.fixture
def key_file(faults: Faults, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key of a service account, for which the proxy gives tokens, and is asked with them as Google is."""
    account = {"type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": private_key}
    file = tmp_path / "key.json"
    file.write_text(json.dumps({**account, "client_email": "robot@p", "token_uri": f"{faults.address}/token"}))
    monkeypatch.delenv(HOST)
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", faults.address)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")  # Google itself is asked for nothing
    faults.token = "made-of-the-key"
    gcs.connect.cache_clear()
    return file


def test_a_key_file_is_used_as_it_lies(faults: Faults, root: UPath, key_file: Path) -> None:
    gcs.write(root / "a.json", "{}")
    assert gcs.read(root / "a.json") == b"{}"
    assert faults.authorized == {"Bearer made-of-the-key"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_token_that_is_not_accepted_is_one_sentence(
    faults: Faults, root: UPath, key_file: Path, large: Path, operation: str
) -> None:
    faults.status, faults.message = 401, "Invalid Credentials"
    with pytest.raises(BucketError) as error:
        OPERATIONS[operation](root, large)
    message = "the Google credentials have expired or are not accepted (Invalid Credentials); attach a service account"
    assert message in str(error.value)
    assert len(faults.requests) == 3, "another token is asked for twice"


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ("none", "there are no Google credentials here (Your default credentials were not found"),
        ("no file", "there are no Google credentials here (File"),
        ("revoked", "the Google credentials have expired or are not accepted (invalid_grant: Account was deleted)"),
    ],
)
def test_credentials_that_cannot_be_used_are_one_sentence(
    faults: Faults, root: UPath, key_file: Path, monkeypatch: pytest.MonkeyPatch, credentials: str, message: str
) -> None:
    if credentials == "revoked":
        faults.token = ""
        faults.status, faults.body = 400, {"error": "invalid_grant", "error_description": "Account was deleted"}
    else:
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(key_file.parent / "gcloud"))
        key_file.unlink()
    if credentials == "none":
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(BucketError) as error:
        gcs.write(root / "a.json", "{}")
    sentence = str(error.value)
    assert message in sentence
    assert "gcloud auth application-default login" in sentence
    assert "PRIVATE KEY" not in sentence
    assert "\n" not in sentence
