"""A Docker daemon of the tests' own, a stand-in for the base image, and the cpu image built on it.

The daemon has no bridge and no packet filter, keeps everything in one folder, and leaves nothing.
The base that the Dockerfile names cannot be had without Docker Hub: the stand-in is a Debian 13
root with the Python 3.11 that runs the tests, and with the machine's settings for its registries.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundation.process import leashed

ROOT = Path(__file__).parents[2]

NOT_PROVEN = "the image was neither built nor run"
"""With what the reason of a skipped test begins; `tests/conftest.py` shows it in the summary."""

BASE = "gauntlet-base:test"
IMAGE = "gauntlet:cpu"

DEBIAN = "http://deb.debian.org/debian"
LIBRARIES = (
    *("apt", "ca-certificates", "netbase", "tzdata", "libbz2-1.0", "libcrypt1", "libffi8"),
    *("liblzma5", "libncursesw6", "libreadline8t64", "libsqlite3-0", "libssl3t64", "libuuid1"),
    *("passwd", "zlib1g"),
)
"""What the base image has too, and what Python's modules are linked with."""

REGISTRIES = (
    "PIP_",
    "UV_",
    "SSL_CERT_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_",
    "https_",
)
"""Beginnings of the variables by which a machine tells pip and uv where packages are."""

SECONDS = {"root": 180, "import": 120, "build": 900, "start": 30, "stop": 60}
"""How long each step may take."""


class NoDocker(Exception):
    """Docker cannot start on this machine, and why."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The image, and the environment in which `docker` reaches the daemon that has it.

    image: name of the cpu image.
    base: name of the stand-in that it was built on.
    seconds: time of each step.
    """

    image: str
    base: str
    environment: dict[str, str]
    seconds: dict[str, float]

    def docker(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A command of Docker, which must not take longer than `timeout` seconds."""
        return subprocess.run(
            ["docker", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip


@contextlib.contextmanager
def built_image(folder: Path) -> Iterator[Built]:
    """Start a daemon in the folder, build the image there, and clean up.

    Raises:
        NoDocker: Docker or what the stand-in is made with cannot be had here.
        CalledProcessError: the build failed, which is a defect of ours.
    """
    seconds: dict[str, float] = {}
    with daemon(folder / "docker") as environment:
        with timed(seconds, "root"):
            root = debian_root(folder / "root")
        with timed(seconds, "import"):
            import_base(root, environment)
        shutil.rmtree(root)
        with timed(seconds, "build"):
            build(environment)
        yield Built(image=IMAGE, base=BASE, environment=environment, seconds=seconds)


@contextlib.contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    seconds[step] = time.monotonic() - begin


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[dict[str, str]]:
    """The environment for `docker`."""
    if os.getuid() != 0:
        raise NoDocker("a daemon of our own needs root")
    for program in ("dockerd", "docker", "mmdebstrap"):
        if not shutil.which(program):
            raise NoDocker(f"{program} is missing; scripts/install-docker installs it")
    folder.mkdir(parents=True)
    environment = {**os.environ, **client(folder), "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            leashed(daemon_command(folder), signal.SIGTERM), stdout=log, stderr=log
        )
    try:
        wait_for(process, environment, folder / "log")
        yield environment
    finally:
        stop(process)
        remove(folder)


def client(folder: Path) -> dict[str, str]:
    """Debian's client, which has BuildKit built in, wins over another vendor's without the plugin.

    BuildKit spares the layers that are thrown away: it takes two thirds of the time.
    """
    programs = folder / "bin"
    programs.mkdir()
    debian = Path("/usr/bin/docker")
    (programs / "docker").symlink_to(debian if debian.exists() else str(shutil.which("docker")))
    version = subprocess.run([programs / "docker", "--version"], capture_output=True, text=True)
    plugin = subprocess.run([programs / "docker", "buildx", "version"], capture_output=True)
    can = "version 20." in version.stdout or plugin.returncode == 0
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_BUILDKIT": "1" if can else "0",
    }


def daemon_command(folder: Path) -> list[str]:
    return [
        *("dockerd", "--host", f"unix://{folder}/docker.sock"),
        *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--pidfile", f"{folder}/pid", "--storage-driver", "overlay2"),
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
    ]


def wait_for(process: "subprocess.Popen[bytes]", environment: dict[str, str], log: Path) -> None:
    """Until the daemon answers."""
    deadline = time.monotonic() + SECONDS["start"]
    while time.monotonic() < deadline and process.poll() is None:
        asked = subprocess.run(["docker", "info"], env=environment, capture_output=True, timeout=30)
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    last = log.read_text().strip().splitlines()[-1:]
    raise NoDocker(f"dockerd does not start: {' '.join(last)}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """The daemon ends its containers, and is killed where it does not end itself."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(SECONDS["stop"])
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remove(folder: Path) -> None:
    """Unmount what the daemon has left, the deepest first, and remove the folder."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounts = [line.split()[1] for line in lines]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    subprocess.run(["rm", "-rf", str(folder)], check=True)  # half a million files


def debian_root(root: Path) -> Path:
    """A Debian 13 with this machine's Python in /usr/local."""
    made = ""
    for mirror in mirrors():
        shutil.rmtree(root, ignore_errors=True)
        command = ["mmdebstrap", "--variant=essential", f"--include={','.join(LIBRARIES)}"]
        done = subprocess.run(
            [*command, "trixie", str(root), mirror],
            capture_output=True, text=True, timeout=SECONDS["root"],
        )  # fmt: skip
        if done.returncode == 0:
            copy_python(root)
            return root
        made = done.stderr.strip().splitlines()[-1]
    raise NoDocker(f"Debian 13 cannot be had: {made}")


def mirrors() -> list[str]:
    """Those that this machine is configured for, then Debian's own."""
    texts = []
    for pattern in ("sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"):
        texts += [file.read_text() for file in Path("/etc/apt").glob(pattern)]
    words = " ".join(texts).split()
    own = [word for word in words if "://" in word and word.rstrip("/").endswith("/debian")]
    return list(dict.fromkeys([*own, DEBIAN]))


def copy_python(root: Path) -> None:
    """The interpreter that made this environment, with pip, and the certificates that it trusts."""
    prefix, local = Path(sys.base_prefix), root / "usr" / "local"
    packages = prefix / "lib" / "python3.11" / "site-packages"

    def unwanted(folder: str, names: list[str]) -> set[str]:
        if Path(folder) == packages:
            return {name for name in names if not name.startswith("pip")}
        return {name for name in names if name in ("__pycache__", "test") or name.endswith(".a")}

    for part in ("include/python3.11", "lib/python3.11"):
        shutil.copytree(prefix / part, local / part, symlinks=True, ignore=unwanted)
    for library in (prefix / "lib").glob("libpython3*"):
        shutil.copy(library, local / "lib", follow_symlinks=False)
    shutil.copy(prefix / "bin" / "python3.11", local / "bin")
    for link in ("python3", "python"):
        (local / "bin" / link).symlink_to("python3.11")
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    if trusted.exists():
        shutil.copy(trusted, root / "etc/ssl/certs")
    subprocess.run(["chroot", str(root), "/usr/sbin/ldconfig"], check=True, timeout=60)


def import_base(root: Path, environment: dict[str, str]) -> None:
    """Make the root an image, with the variables of the one that it stands for."""
    settings = {name: value for name, value in os.environ.items() if name.startswith(REGISTRIES)}
    changes = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"} | settings
    options = [f"--change=ENV {name}={json.dumps(value)}" for name, value in changes.items()]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["docker", "import", *options, "-", BASE],
            stdin=tar.stdout, env=environment, stdout=subprocess.DEVNULL,
            check=True, timeout=SECONDS["import"],
        )  # fmt: skip


def build(environment: dict[str, str]) -> None:
    """By our own command."""
    subprocess.run(
        [
            str(Path(sys.executable).parent / "gauntlet"),
            *("image", "build", "--base", BASE, "--", "--network", "host"),
        ],
        cwd=ROOT, env=environment, capture_output=True, check=True, timeout=SECONDS["build"],
    )  # fmt: skip
