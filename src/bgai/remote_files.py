"""Files in cloud storage and on web servers, by fsspec: `s3://bucket/photos/cat.jpg`, `https://host/cat.jpg`.

Addresses that are shown, in messages too, have neither the password nor the query that may be in them.
"""

from __future__ import annotations

import logging
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from bgai.errors import BgaiError, ImageError, MissingExtraError, OutputError, UsageError

SCHEMES = ("s3", "gs", "az", "http", "https", "memory")
_WEB = ("http", "https")
_SILENT = logging.NullHandler()
_PACKAGES = {"gs": "gcsfs", "az": "adlfs"}
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
)


@dataclass(frozen=True, slots=True)
class RemotePath:
    """The address of a file or folder elsewhere, with those methods of `pathlib.Path` that planning needs."""

    scheme: str
    path: PurePosixPath
    """Bucket or host, and what is in it."""
    secret: tuple[str, str] = field(default=("", ""), repr=False)
    """User with password before the host, and query behind the path: for a web server alone."""
    is_folder: bool | None = field(default=None, compare=False)
    """None where it is not known, and the storage is to be asked."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        return self._at(self.path / name)

    @property
    def is_web(self) -> bool:
        """Whether it is that of a web server, which takes no outputs."""
        return self.scheme in _WEB

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.scheme, *self.path.parts)

    @property
    def parent(self) -> RemotePath:
        return self._at(self.path.parent)

    def with_name(self, name: str) -> RemotePath:
        return self._at(self.path.with_name(name))

    def resolve(self) -> RemotePath:
        return self

    def is_dir(self) -> bool:
        """Whether this is a folder.

        Raises:
            BgaiError: The storage does not answer.
        """
        if self.is_folder is not None:
            return self.is_folder
        if self.is_web:
            return False
        with _failing(self):
            return bool(_storage(self).isdir(self._inner))

    def _at(self, path: PurePosixPath) -> RemotePath:
        return replace(self, path=path, is_folder=None, secret=(self.secret[0], ""))

    @property
    def _inner(self) -> str:
        """What the storage takes."""
        if not self.is_web:
            return str(self.path)
        user, query = self.secret
        return f"{self.scheme}://{user}{self.path}{'/' if self.is_folder else ''}{query}"


AnyPath = Path | RemotePath


def parse_path(text: str) -> AnyPath:
    """The path of a file on this machine, or the address of one elsewhere.

    Raises:
        UsageError: It is an address of a kind that is not known.

    Examples:
        >>> str(parse_path("https://me:secret@host/cat.jpg?key=secret"))
        'https://host/cat.jpg'
    """
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return Path(text)
    scheme = scheme.lower()
    if scheme == "file":
        return Path(urllib.parse.unquote(rest))
    if scheme not in SCHEMES:
        raise UsageError(f"{scheme}://: expected one of {', '.join(f'{each}://' for each in SCHEMES)} or a local path")
    user = query = ""
    if scheme in _WEB:
        rest, mark, query = rest.partition("?")
        host, slash, inner = rest.partition("/")
        user, at, host = host.rpartition("@")
        user, query, rest = user + at, mark + query, host + slash + inner
    return _checked(RemotePath(scheme, PurePosixPath(rest), (user, query), True if rest.endswith("/") else None), rest)


def list_folder(folder: RemotePath) -> Iterator[RemotePath]:
    """What lies in a folder, sorted by name, with `is_folder`.

    Raises:
        ImageError: There is no such folder, or it cannot be read.
    """
    with _failing(folder):
        entries = _storage(folder).ls(folder._inner, detail=True)
    for entry in sorted(entries, key=lambda entry: str(entry["name"])):
        name = entry["name"].rstrip("/") if entry["type"] == "directory" else entry["name"]
        if folder.is_web:
            name = name.partition("://")[2].partition("?")[0].rpartition("@")[2].rstrip("/")
            if PurePosixPath(name).parent != folder.path:  # a link to elsewhere
                continue
        path = PurePosixPath(name.removeprefix("/") if folder.scheme == "memory" else name)
        is_folder = entry["type"] == "directory" or entry["name"].endswith("/")
        if path != folder.path:  # which S3 lists too, if an object of that name marks the folder
            yield replace(folder, path=path, is_folder=is_folder)


def download(source: RemotePath, target: Path) -> None:
    """Copy a file to this machine.

    Raises:
        ImageError: It is not there, or cannot be read.
    """
    with _failing(source):
        _storage(source).get_file(source._inner, str(target))


def exists(path: RemotePath) -> bool:
    """Whether there is a file of that name.

    Raises:
        OutputError: The storage does not say.
    """
    with _failing(path, OutputError):
        storage = _storage(path)
        storage.invalidate_cache()
        return bool(storage.isfile(path._inner))


def upload(source: Path, target: RemotePath, *, overwrite: bool) -> None:
    """Copy a file from this machine; it appears whole or not at all.

    Large files go to S3 in parts, which are put together at the end, or thrown away after an error.

    Args:
        source: The file.
        target: Where it is to lie.
        overwrite: Whether a file there may be replaced. If not, S3 and Google are asked to refuse it themselves.

    Raises:
        OutputError: There is a file already, or the storage refuses.
    """
    check_writable(target)
    try:
        with _failing(target, OutputError):
            storage = _storage(target)
            if target.scheme == "az":
                storage.put_file(str(source), target._inner, overwrite=overwrite)
            else:
                storage.put_file(str(source), target._inner, mode="overwrite" if overwrite else "create")
    except OutputError as error:
        if isinstance(error.__cause__, FileExistsError) or _code(error.__cause__) == "PreconditionFailed":
            raise OutputError(f"{target}: exists already; choose another output or allow overwriting") from error
        raise


def check_writable(target: RemotePath) -> None:
    """Refuse addresses that nothing can be written to.

    Raises:
        UsageError: It is that of a web server.
    """
    if target.is_web:
        raise UsageError(f"{target}: a web server takes no outputs; choose a folder or s3://, gs:// or az://")


def _checked(path: RemotePath, given: str) -> RemotePath:
    inner = str(path.path)
    if inner != given.rstrip("/") or ".." in path.path.parts or "\\" in inner or any(ord(each) < 32 for each in inner):
        raise ImageError(f"{path}: expected a name without //, /./, /../, \\ and control characters")
    return path


def is_plain(path: RemotePath) -> bool:
    """Whether the name can be that of a file on any machine."""
    try:
        _checked(path, str(path.path))
    except ImageError:
        return False
    return True


def _storage(path: RemotePath) -> Any:
    try:
        import fsspec

        if path.is_web:
            import aiohttp  # noqa: F401  fsspec's own message names another package
        logging.getLogger("gcsfs").addHandler(_SILENT)  # it warns of what no user can change, and goes on
        return fsspec.filesystem(path.scheme)
    except ImportError as error:
        if package := _PACKAGES.get(path.scheme):
            raise UsageError(f"{path}: needs the package {package}: pip install {package}") from error
        raise MissingExtraError("remote", f"{path.scheme}://") from error


@contextmanager
def _failing(path: RemotePath, kind: type[BgaiError] = ImageError) -> Iterator[None]:
    """Whatever the storage raises is an error of that file; texts of libraries, which may hold secrets, stay out."""
    doing = "written" if kind is OutputError else "read"
    try:
        yield
    except BgaiError:
        raise
    except FileNotFoundError as error:
        what = "no such bucket or folder" if kind is OutputError else "not found"
        raise kind(f"{path}: {what}") from error
    except PermissionError as error:
        raise kind(f"{path}: access denied; look at the credentials and at what they allow") from error
    except Exception as error:
        if type(error).__name__ in _NO_CREDENTIALS:
            raise kind(f"{path}: no credentials for {path.scheme}://; docs/scale.md says where to put them") from error
        if "Connect" in type(error).__name__ or isinstance(error, TimeoutError):
            raise kind(f"{path}: cannot be {doing}: its server does not answer") from error
        code = _code(error)
        why = f"{type(error).__name__}{f' ({code})' if code else ''}"
        raise kind(f"{path}: cannot be {doing}: {why}") from error


def _code(error: BaseException | None) -> str:
    """What S3 or a web server calls the error."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    if error is not None and error.__cause__ is not None and error.__cause__ is not error:
        return _code(error.__cause__)
    return str(getattr(error, "status", ""))
