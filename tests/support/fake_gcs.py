"""A small Google Cloud Storage, over TLS, for a command that believes it talks to the real one.

    python tests/support/fake_gcs.py --folder OBJECTS -- COMMAND ...

runs COMMAND in a network and mount namespace of its own, where the names of Google's storage
lead to this process, and returns its exit code. There is no other network in there. Buckets come
into being when they are written to. Objects are kept as files, FOLDER/BUCKET/NAME, so they outlive
the command; `history.jsonl` in FOLDER has every change in order. One lock orders all requests: a
listing shows all that was written before it, as Google promises.

Both clients of a pipeline are served: TensorFlow's (`gs://` in tf.io.gfile) and Python's (Beam).
The bucket is flat: folders exist only as parts of names, and there is no rename. It is one long
file, because it is a script that must run wherever it is copied to.
"""

import argparse
import ctypes
import datetime
import email
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HOSTS = ("www.googleapis.com", "storage.googleapis.com", "metadata.google.internal")

MARKER = "%2F"
"""File that stands for an object whose name ends in a slash."""

PAGE = 1000
"""Names in one answer to a listing, as Google's."""

HISTORY = "history.jsonl"

REFUSED = 77
"""Exit code where the machine permits no namespaces."""


class Objects:
    """The objects of all buckets, as files; every method is one step, seen whole by all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, bucket: str, name: str) -> bytes | None:
        with self._lock:
            path = self._path(bucket, name)
            return path.read_bytes() if path.is_file() else None

    def describe(self, bucket: str, name: str) -> dict[str, Any] | None:
        """What Google says of an object; None where there is none."""
        with self._lock:
            return self._described(bucket, name)

    def write(self, bucket: str, name: str, content: bytes, new: bool = False) -> Any:
        """Write an object whole; None where it must be `new` and is not."""
        with self._lock:
            path = self._path(bucket, name)
            if new and path.is_file():
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._folder / f"{uuid.uuid4().hex}.partial"
            partial.write_bytes(content)
            now = time.time_ns()  # the generation; the clock of a file system is too coarse
            os.utime(partial, ns=(now, now))
            partial.replace(path)
            self._note("write", bucket, name)
            return self._described(bucket, name)

    def remove(self, bucket: str, name: str) -> bool:
        with self._lock:
            path = self._path(bucket, name)
            if not path.is_file():
                return False
            path.unlink()
            self._note("remove", bucket, name)
            return True

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Names that begin with the prefix, in Google's order."""
        with self._lock:
            top = self._folder / bucket
            start = top / prefix.rpartition("/")[0]
            files = [path for path in start.rglob("*") if path.is_file()]
            names = [path.relative_to(top).as_posix().removesuffix(MARKER) for path in files]
            return sorted(name for name in names if name.startswith(prefix))

    def _path(self, bucket: str, name: str) -> Path:
        return self._folder / bucket / (name + MARKER if name.endswith("/") else name)

    def _described(self, bucket: str, name: str) -> dict[str, Any] | None:
        path = self._path(bucket, name)
        if not path.is_file():
            return None
        stat = path.stat()
        moment = datetime.datetime.fromtimestamp(stat.st_mtime, datetime.UTC)
        updated = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "kind": "storage#object", "bucket": bucket, "name": name, "size": str(stat.st_size),
            "generation": str(stat.st_mtime_ns), "metageneration": "1", "updated": updated,
            "timeCreated": updated, "storageClass": "STANDARD", "etag": str(stat.st_mtime_ns),
        }  # fmt: skip

    def _note(self, change: str, bucket: str, name: str) -> None:
        with open(self._folder / HISTORY, "a") as file:
            file.write(json.dumps([change, f"gs://{bucket}/{name}"]) + "\n")


@dataclass(frozen=True, kw_only=True)
class Request:
    """method, target: of the request line. headers: with lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def parts(self) -> list[str]:
        """The path's parts; an encoded slash belongs to a name."""
        return [unquote(part) for part in urlsplit(self.target).path.strip("/").split("/")]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass(frozen=True, kw_only=True)
class Response:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Session:
    """An upload in pieces."""

    bucket: str
    name: str
    content: bytes = b""


def metadata(parts: list[str]) -> Response:
    """What a machine of Google's says of itself: there both clients get their credentials."""
    headers = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
    account: dict[str, Any] = {"email": "fake", "aliases": ["default"], "scopes": []}
    token = {"access_token": "fake", "expires_in": 86400, "token_type": "Bearer"}
    plain = headers | {"Content-Type": "application/text"}
    match parts[2:]:
        case ["project", "project-id"]:
            return Response(body=b"fake", headers=plain)
        case ["universe", _]:
            return Response(body=b"googleapis.com", headers=plain)
        case ["instance", "service-accounts", _, "token"]:
            return Response(body=json.dumps(token).encode(), headers=headers)
        case ["instance", "service-accounts", _]:
            return Response(body=json.dumps(account).encode(), headers=headers)
    return Response(headers=headers)


def as_json(value: Any) -> Response:
    return Response(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def failure(status: int, reason: str) -> Response:
    error = {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}
    return Response(status=status, body=json.dumps(error).encode())


NOT_FOUND = failure(404, "notFound")


class Storage:
    """The protocol: the part of Google's JSON and XML interfaces that our clients use."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._sessions: dict[str, Session] = {}

    def answer(self, request: Request) -> Response:
        match request.method, request.parts:
            case "GET", [""] | ["computeMetadata", *_]:
                return metadata(request.parts)
            case "POST", ["batch", "storage", "v1"]:
                return self._batch(request)
            case "POST", ["upload", "storage", "v1", "b", bucket, "o"]:
                return self._upload(request, bucket)
            case "PUT", ["upload", "storage", "v1", "b", _, "o"]:
                return self._continue(request)
            case "GET", ["storage", "v1", "b", bucket]:
                return as_json({"kind": "storage#bucket", "name": bucket, "location": "US"})
            case "GET", ["storage", "v1", "b", bucket, "storageLayout"]:
                flat = {"hierarchicalNamespace": {"enabled": False}}
                return as_json({"kind": "storage#storageLayout", "bucket": bucket} | flat)
            case "GET", ["storage", "v1", "b", bucket, "o"]:
                return self._list(request.query, bucket)
            case "GET", ["storage" | "download", *_, "b", bucket, "o", name]:
                if request.query.get("alt") == "media":
                    return self._read(request, bucket, name)
                found = self._objects.describe(bucket, name)
                return as_json(found) if found else NOT_FOUND
            case "DELETE", ["storage", "v1", "b", bucket, "o", name]:
                return Response(status=204) if self._objects.remove(bucket, name) else NOT_FOUND
            case "POST", [
                "storage",
                "v1",
                "b",
                *source,
                "rewriteTo" | "copyTo",
                "b",
                to,
                "o",
                name,
            ]:
                return self._copy(source, to, name, rewrite="rewriteTo" in request.parts)
            case "GET", [bucket, *name]:
                return self._read(request, bucket, "/".join(name))
        return failure(400, f"the fake knows no {request.method} {request.target}")

    def _list(self, query: dict[str, str], bucket: str) -> Response:
        """Names and, where a delimiter is given, prefixes; a page of them."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        entries: dict[str, bool] = {}  # by name, whether it is a prefix
        for name in self._objects.names(bucket, prefix):
            rest = name[len(prefix) :]
            folder, slash, _ = rest.partition(delimiter) if delimiter else (rest, "", "")
            entries[prefix + folder + slash if slash else name] = bool(slash)
        later = [name for name in sorted(entries) if name > query.get("pageToken", "")]
        shown = later[: min(int(query.get("maxResults", PAGE)), PAGE)]
        described = [self._objects.describe(bucket, name) for name in shown if not entries[name]]
        page: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [found for found in described if found],
            "prefixes": [name for name in shown if entries[name]],
        }
        more = {"nextPageToken": shown[-1]} if len(shown) < len(later) else {}
        return as_json(page | more)

    def _read(self, request: Request, bucket: str, name: str) -> Response:
        content = self._objects.read(bucket, name)
        if content is None:
            return NOT_FOUND
        wanted = request.headers.get("range", "").removeprefix("bytes=")
        if not wanted:
            return Response(body=content)
        first, _, last = wanted.partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        if start >= len(content):
            return failure(416, "requestedRangeNotSatisfiable")
        headers = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        return Response(status=206, body=content[start : end + 1], headers=headers)

    def _copy(self, source: list[str], bucket: str, name: str, rewrite: bool) -> Response:
        from_bucket, _, from_name = source
        content = self._objects.read(from_bucket, from_name)
        if content is None:
            return NOT_FOUND
        written = self._objects.write(bucket, name, content)
        if not rewrite:
            return as_json(written)
        sizes = {"totalBytesRewritten": str(len(content)), "objectSize": str(len(content))}
        return as_json(
            {"kind": "storage#rewriteResponse", "done": True, "resource": written} | sizes
        )

    def _upload(self, request: Request, bucket: str) -> Response:
        query = request.query
        new = query.get("ifGenerationMatch") == "0"
        if query["uploadType"] == "resumable":
            name = query.get("name") or json.loads(request.body)["name"]
            key = uuid.uuid4().hex
            self._sessions[key] = Session(bucket, name)
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={key}"
            return Response(headers={"Location": f"https://{request.headers['host']}{path}"})
        name, content = query.get("name", ""), request.body
        if query["uploadType"] == "multipart":
            name, content = two_parts(request)
        written = self._objects.write(bucket, name, content, new)
        return as_json(written) if written else failure(412, "conditionNotMet")

    def _continue(self, request: Request) -> Response:
        """A piece of an upload, or the question how much has come."""
        session = self._sessions.get(request.query["upload_id"])
        if session is None:
            return NOT_FOUND
        span = request.headers.get("content-range", "bytes */*").removeprefix("bytes ")
        place, _, total = span.partition("/")
        start = int(place.partition("-")[0]) if place != "*" else len(session.content)
        session.content = session.content[:start] + request.body
        size = len(session.content)
        if "content-range" not in request.headers or total == str(size):
            return as_json(self._objects.write(session.bucket, session.name, session.content))
        return Response(status=308, headers={"Range": f"bytes=0-{size - 1}"} if size else {})

    def _batch(self, request: Request) -> Response:
        """Several requests in one: Python's client copies and removes objects so."""
        kind = request.headers["content-type"].encode()
        asked = email.message_from_bytes(b"Content-Type: " + kind + b"\n\n" + request.body)
        answers = b""
        for part in asked.walk():
            if part.get_content_type() != "application/http":
                continue
            text = bytes(part.get_payload(decode=True))
            method, target = text.decode().split(" ")[:2]
            response = self.answer(Request(method=method, target=target, headers={}))
            answers += (
                b"--answer\r\nContent-Type: application/http\r\n\r\n"
                b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n\r\n%b\r\n"
                % (response.status, response.body)
            )
        headers = {"Content-Type": "multipart/mixed; boundary=answer"}
        return Response(body=answers + b"--answer--\r\n", headers=headers)


def boundary_of(request: Request) -> bytes:
    return request.headers["content-type"].partition("boundary=")[2].strip('"').encode()


def two_parts(request: Request) -> tuple[str, bytes]:
    """Name and content of an object that is sent with its description."""
    _, description, content, _ = request.body.split(b"--" + boundary_of(request), 3)
    name = json.loads(description.partition(b"\r\n\r\n")[2])["name"]
    return name, content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def handler(storage: Storage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise every answer waits 40 ms

        def handle_one(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(
                method=self.command, target=self.path, headers=headers, body=self._body()
            )
            try:
                response = storage.answer(request)
            except Exception:  # the client asked what the fake cannot do: it must not try again
                traceback.print_exc()
                response = failure(400, "the fake failed")
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: history.jsonl has what counts."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server; everything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


def serve(objects: Objects, key_and_certificate: Path) -> None:
    """Answer on the ports of HTTP and HTTPS, in the background."""
    handle = handler(Storage(objects))
    plain, secure = (Server(("127.0.0.1", port), handle) for port in (80, 443))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    # The handshake happens in the thread of the connection, so no client can hold up another.
    secure.socket = context.wrap_socket(
        secure.socket, server_side=True, do_handshake_on_connect=False
    )
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()


def write_certificate(path: Path) -> None:
    """A key and a certificate that it signs itself, for Google's names, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake GCS")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    names = [x509.DNSName(host) for host in HOSTS]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


def enter_namespaces(hosts: Path) -> None:
    """A network that has only the loopback, and /etc/hosts with Google's names on it.

    Raises:
        OSError: the machine does not permit it.
    """
    user, mounts, network = 0x10000000, 0x00020000, 0x40000000
    recursive_private, bind = 0x4000 | 1 << 18, 0x1000
    identity, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    call("unshare", mounts | network | (user if identity else 0))
    if identity:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{identity} {identity} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    call("mount", None, b"/", None, recursive_private, None)
    known = Path("/etc/hosts").read_text()
    hosts.write_text(known + "".join(f"127.0.0.1 {host}\n" for host in HOSTS))
    call("mount", bytes(hosts), b"/etc/hosts", None, bind, None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        up, set_flags = 0x1, 0x8914
        ioctl(control, set_flags, struct.pack("16sh14x", b"lo", up))


def environment(certificate: Path, empty: Path) -> dict[str, str]:
    """What makes both clients trust the fake, and look for nobody's own credentials."""
    kept = {k: v for k, v in os.environ.items() if k != "GOOGLE_APPLICATION_CREDENTIALS"}
    trusted = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    own = {name: str(certificate) for name in trusted}
    return kept | own | {"GCE_METADATA_IP": "127.0.0.1", "CLOUDSDK_CONFIG": str(empty)}


def run(folder: Path, command: list[str], timeout: float) -> int:
    """Run the command with the fake; its exit code, or 124 when the time is up."""
    with tempfile.TemporaryDirectory() as scratch:
        certificate = Path(scratch) / "fake.pem"
        write_certificate(certificate)
        try:
            enter_namespaces(Path(scratch) / "hosts")
        except OSError as error:
            sys.stderr.write(f"this machine permits no private network: {error}\n")
            return REFUSED
        serve(Objects(folder), certificate)
        started = subprocess.Popen(
            command, env=environment(certificate, Path(scratch)), start_new_session=True
        )
        try:
            return started.wait(timeout)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the objects are kept")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds; 3600 if not given")
    parser.add_argument("command", nargs="+", help="after `--`: what to run")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(run(arguments.folder.resolve(), arguments.command, arguments.timeout))


if __name__ == "__main__":
    main()
