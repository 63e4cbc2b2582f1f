from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storage_support import BUCKET, azure_server, google_server, keys, s3_server
from support import served_folder

from bgai.errors import BgaiError, ImageError, MissingExtraError, OutputError, UsageError
from bgai.remote_files import RemotePath, check_writable, download, exists, list_folder, parse_path, upload


def remote(address: str) -> RemotePath:
    path = parse_path(address)
    assert isinstance(path, RemotePath)
    return path


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The owner's client of a server that this process uses."""
    with s3_server() as (client, environment):
        import s3fs

        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield client
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[RemotePath]:
    """An empty folder in fsspec's storage in memory."""
    fsspec = pytest.importorskip("fsspec")
    storage = fsspec.filesystem("memory")
    yield remote("memory://folder")
    storage.rm("/folder", recursive=True) if storage.exists("/folder") else None


@pytest.fixture(params=["az", "gs"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemotePath]:
    """An empty bucket of another cloud."""
    fsspec = pytest.importorskip("fsspec")
    with azure_server(tmp_path / "server") if request.param == "az" else google_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class(request.param).clear_instance_cache()
        yield remote(f"{request.param}://{BUCKET}")
        fsspec.get_filesystem_class(request.param).clear_instance_cache()


@pytest.mark.parametrize("text", ["photo.jpg", "/a/b.png", "C:\\photos\\a.png", "a:b.png", "s3:/b"])
def test_paths_of_this_machine(text: str) -> None:
    assert parse_path(text) == Path(text)


def test_file_addresses_are_local() -> None:
    assert parse_path("file:///photos/a%20b.png") == Path("/photos/a b.png")


def test_parts_of_an_address() -> None:
    path = remote("S3://bucket/in/cat.jpg")
    assert (str(path), path.name, path.stem, path.suffix) == ("s3://bucket/in/cat.jpg", "cat.jpg", "cat", ".jpg")
    assert str(path.parent / "dog.png") == "s3://bucket/in/dog.png"
    assert str(path.with_name("cat_x4.png")) == "s3://bucket/in/cat_x4.png"
    assert pickle.loads(pickle.dumps(path)) == path


def test_unknown_kinds_of_address() -> None:
    with pytest.raises(UsageError, match=r"ftp://: expected one of s3://, gs://"):
        parse_path("ftp://host/a.png")


@pytest.mark.parametrize("name", ["a//b.png", "../b.png", "a/./b.png", "a\\b.png", "a\nb.png"])
def test_names_that_would_lead_elsewhere(name: str) -> None:
    with pytest.raises(ImageError, match="expected a name without"):
        parse_path(f"s3://bucket/{name}")


def test_secrets_are_not_shown() -> None:
    path = remote("https://me:very-secret@host/in/cat.jpg?key=very-secret")
    assert str(path) == "https://host/in/cat.jpg"
    assert "very-secret" not in repr(path)
    assert path.suffix == ".jpg"


def test_secrets_reach_the_server_alone(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    with served_folder(tmp_path) as address:
        host = address.removeprefix("http://")
        download(remote(f"http://{host}/cat.jpg?key=very-secret"), tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"cat"
        with pytest.raises(ImageError) as failure:
            download(remote(f"http://me:very-secret@{host}/none.jpg?key=very-secret"), tmp_path / "none")
    assert str(failure.value) == f"http://{host}/none.jpg: not found"


def test_folders_of_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "inner").mkdir()
    for name in ("a.png", "b c.png", "inner/c.png"):
        (tmp_path / name).touch()
    with served_folder(tmp_path) as address:
        entries = list(list_folder(remote(f"{address}/")))
    assert [(entry.name, entry.is_dir()) for entry in entries][::2] == [("a.png", False), ("inner", True)]


def test_nothing_is_written_to_web_servers() -> None:
    with pytest.raises(UsageError, match=r"https://host/a.png: a web server takes no outputs"):
        check_writable(remote("https://host/a.png"))


def test_up_and_down(memory: RemotePath, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    upload(tmp_path / "a", memory / "inner/a.png", overwrite=False)
    assert exists(memory / "inner/a.png")
    assert not exists(memory / "inner")
    assert not exists(memory / "b.png")
    assert [(str(entry), entry.is_dir()) for entry in list_folder(memory)] == [("memory://folder/inner", True)]
    assert [str(entry) for entry in list_folder(memory / "inner")] == ["memory://folder/inner/a.png"]
    download(memory / "inner/a.png", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"first"


def test_other_clouds_up_and_down(bucket: RemotePath, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(name.encode())
    picture = bucket / "folder/inner/a.png"
    upload(tmp_path / "first", picture, overwrite=False)
    assert exists(picture)
    assert not exists(picture.parent)
    assert [(str(entry), entry.is_dir()) for entry in list_folder(bucket / "folder")] == [(str(picture.parent), True)]
    assert [entry.name for entry in list_folder(picture.parent)] == ["a.png"]
    upload(tmp_path / "second", picture, overwrite=True)
    download(picture, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"second"
    with pytest.raises(ImageError, match=f"{bucket}/none.png: not found"):
        download(bucket / "none.png", tmp_path / "b")
    if bucket.scheme == "az":  # Google's emulator does not look at what is asked of it
        with pytest.raises(OutputError, match=r"a.png: exists already"):
            upload(tmp_path / "first", picture, overwrite=False)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"s3:// needs the extra 'remote'"):
        download(remote("s3://bucket/a.png"), tmp_path / "a")


def test_missing_package_of_a_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = pytest.importorskip("fsspec.registry")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(registry._registry, "gs", raising=False)  # where another test found it
    with pytest.raises(UsageError, match=r"gs://bucket/a.png: needs the package gcsfs: pip install gcsfs"):
        download(remote("gs://bucket/a.png"), tmp_path / "a")


def test_s3_up_and_down(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="in/", Body=b"")  # as consoles mark a folder
    s3.put_object(Bucket=BUCKET, Key="in/a.png", Body=b"a")
    folder = remote(f"s3://{BUCKET}/in")
    assert folder.is_dir()
    assert [(entry.name, entry.is_dir()) for entry in list_folder(folder)] == [("a.png", False)]
    download(folder / "a.png", tmp_path / "a")
    upload(tmp_path / "a", remote(f"s3://{BUCKET}/out/a.png"), overwrite=False)
    assert s3.get_object(Bucket=BUCKET, Key="out/a.png")["Body"].read() == b"a"


def test_s3_refuses_to_overwrite_by_itself(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    s3.put_object(Bucket=BUCKET, Key="a.png", Body=b"old")
    target = remote(f"s3://{BUCKET}/a.png")
    with pytest.raises(OutputError, match=r"a.png: exists already"):
        upload(tmp_path / "a", target, overwrite=False)
    assert s3.get_object(Bucket=BUCKET, Key="a.png")["Body"].read() == b"old"
    upload(tmp_path / "a", target, overwrite=True)
    assert s3.get_object(Bucket=BUCKET, Key="a.png")["Body"].read() == b"new"


LARGE = 110 * 2**20
"""Bytes that go to S3 in parts."""


def test_large_files_in_parts(s3: Any, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    upload(tmp_path / "large", remote(f"s3://{BUCKET}/large.tif"), overwrite=False)
    found = s3.head_object(Bucket=BUCKET, Key="large.tif")
    assert found["ContentLength"] == LARGE
    assert found["ETag"].endswith('-3"')  # of three parts


def test_parts_are_thrown_away_after_an_error(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    call = s3fs.S3FileSystem._call_s3

    async def failing(self: Any, method: str, *arguments: Any, **values: Any) -> Any:
        if method == "upload_part" and values.get("PartNumber") == 3:
            raise ConnectionResetError
        return await call(self, method, *arguments, **values)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", failing)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    with pytest.raises(OutputError, match=r"large.tif: cannot be written: its server does not answer"):
        upload(tmp_path / "large", remote(f"s3://{BUCKET}/large.tif"), overwrite=False)
    assert keys(s3) == []
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "s3://none/a.png: no such bucket or folder"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://none/a.png: no credentials for s3://"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://none/a.png: cannot be written: its server does not answer"),
    ],
    ids=["bucket", "credentials", "server"],
)
def test_s3_errors(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(BgaiError) as failure:
        upload(tmp_path / "a", remote("s3://none/a.png"), overwrite=True)
    assert str(failure.value).startswith(message)
    assert "very-secret" not in str(failure.value)


def test_missing_objects(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=rf"^s3://{BUCKET}/none.png: not found$"):
        download(remote(f"s3://{BUCKET}/none.png"), tmp_path / "a")
    with pytest.raises(ImageError, match=rf"^s3://{BUCKET}/none: not found$"):
        list(list_folder(remote(f"s3://{BUCKET}/none")))
