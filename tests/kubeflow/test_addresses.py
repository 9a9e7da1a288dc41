"""What is no address and no image is said before anything is sent."""

import pytest
from gauntlet_kubeflow.addresses import check_address, check_image, check_mount

from foundation.errors import ConfigError


@pytest.mark.parametrize(
    "address",
    ["gs://b/x", "minio://mlpipeline/gauntlet", "s3://a.b-c/d/e", "/mnt/gauntlet", "gs://b", "",
     "gs://bucket/Bilder/größer"],
)  # fmt: skip
def test_addresses(address: str) -> None:
    check_address("--store", address)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("minio://", "names no bucket"),
        ("gs:///x", "step"),
        ("gs://UPPER/x", "names no bucket"),
        ("minio://b?region=x", "cannot be part"),
        ("gs://b/x\n", "cannot be part"),
        ("gs:// /x", "cannot be part"),
        ("gs://b/[x]", "cannot be part"),
        ("/mnt/g/../other", "step"),
        ("gs://b/../x", "step"),
        ("gs://b//2", "step"),
        ("/mnt/a:ro", "cannot be part"),
    ],
)
def test_what_is_no_address(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_address("--store", address)


@pytest.mark.parametrize("path", ["/proc", "/usr/local", "/minio", "/tmp", "/opt/gauntlet", "/a,b"])
def test_where_no_volume_can_be(path: str) -> None:
    check_mount("--volume", "/mnt/gauntlet")
    check_mount("--volume", "/tmp/store")
    with pytest.raises(ConfigError):
        check_mount("--volume", path)


@pytest.mark.parametrize("image", ["i", "reg.io:5000/a/b:1.2", f"a/b@sha256:{64 * 'a'}"])
def test_images(image: str) -> None:
    check_image("--image", image)


@pytest.mark.parametrize(
    "image", ["", " ", "a b", "i@sha256:zz", f"a b@sha256:{64 * 'a'}", "é", "-x", "a\n"]
)
def test_what_is_no_image(image: str) -> None:
    with pytest.raises(ConfigError, match="no name of an image"):
        check_image("--image", image)
