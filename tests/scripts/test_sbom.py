"""The bill of materials: each locked package with its hashes, and what it says of its licence."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import sbom
from cyclonedx.model.component import ComponentScope
from cyclonedx.output.json import JsonV1Dot6
from sbom import Locked, bill, glibc_components, licences_of, locked_packages, summary

ROOT = Path(__file__).parents[2]


def package(name: str, scope: ComponentScope = ComponentScope.REQUIRED) -> Locked:
    return Locked(name=name, version="1.5", hashes=(f"sha256:{'0' * 64}",), scope=scope)


def as_json(packages: list[Locked]) -> Any:
    licences = {each.name: licences_of(each) for each in packages}
    return json.loads(JsonV1Dot6(bill(packages, licences)).output_as_string())


def test_every_locked_package_is_there_with_all_its_hashes() -> None:
    found = {
        component["name"]: {entry["content"] for entry in component["hashes"]}
        for component in as_json(locked_packages())["components"]
        if component["purl"].startswith("pkg:pypi/")
    }
    for lock in ROOT.glob("requirements*.lock"):
        for block in re.split(r"\n(?=[a-zA-Z0-9])", lock.read_text())[1:]:
            name = block.partition("==")[0].partition("[")[0]
            hashes = set(re.findall("sha256:([0-9a-f]{64})", block))
            assert found[name] == hashes, name


def test_the_scope_says_who_gets_a_package() -> None:
    scopes = {component["name"]: component["scope"] for component in as_json(
        [each for each in locked_packages() if each.name in ("tfx", "pytest", "nvidia-cudnn-cu12")]
    )["components"] if "scope" in component}  # fmt: skip
    assert scopes == {"tfx": "required", "pytest": "excluded", "nvidia-cudnn-cu12": "optional"}


@pytest.mark.parametrize(
    ("metadata", "licences"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: other"], ["MIT OR Apache-2.0"]),
        (["License: BSD-3-Clause", "Classifier: License :: OSI Approved :: BSD License"],
         ["BSD-3-Clause"]),
        (["Classifier: License :: OSI Approved :: BSD License"], ["BSD License"]),
        (["License: Apache 2.0", "Classifier: License :: OSI Approved",
          "Classifier: License :: OSI Approved :: Apache Software License",
          "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
         ["Apache-2.0", "GNU General Public License v3 (GPLv3)"]),
        (["License: Apache License, Version 2.0"], ["Apache-2.0"]),
        (["License: My own words"], ["My own words"]),
        ([], ["unknown"]),
    ],
)  # fmt: skip
def test_what_a_package_states(
    metadata: list[str], licences: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "strange-1.5.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: strange", "Version: 1.5", *metadata]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert licences_of(package("strange")) == licences
    assert "strange" in [
        component["name"] for component in as_json([package("strange")])["components"]
    ]


def test_what_is_not_installed_has_no_licence_that_could_be_read() -> None:
    assert licences_of(package("no-such-package")) == ["not installed here"]


def test_who_has_to_be_looked_at_is_named() -> None:
    packages = [
        package("free"),
        package("weak"),
        package("strong", ComponentScope.EXCLUDED),
        package("silent"),
    ]
    licences = {
        "free": ["MIT"],
        "weak": ["MPL-2.0 AND MIT"],
        "strong": ["Apache-2.0", "GNU General Public License v3 (GPLv3)"],
        "silent": ["unknown"],
    }
    lines = list(summary(packages, licences))
    assert "copyleft (required): weak" in lines
    assert "copyleft (excluded): strong" in lines
    assert "no licence stated (required): silent" in lines
    assert not [line for line in lines if "free" in line]


def test_nothing_that_is_required_has_a_strong_copyleft() -> None:
    """MPL holds for single files; of the GPL's family only tools of development are."""
    required = [each for each in locked_packages() if each.scope is ComponentScope.REQUIRED]
    stated = {each.name: ", ".join(licences_of(each)) for each in required}
    assert not [name for name, text in stated.items() if re.search(r"GPL|GNU", text)]


def test_the_private_glibc_and_the_images_are_components(tmp_path: Path) -> None:
    record = tmp_path / "packages"
    record.write_text(f"libc6 2.41-12+deb13u1 {'a' * 64}\n")
    (libc,) = glibc_components(record)
    assert libc.purl is not None
    assert libc.purl.to_string() == (
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=trixie"
    )
    assert list(glibc_components(tmp_path / "none")) == []
    python, beam = sbom.image_components()
    assert (python.name, beam.name) == ("python", "apache/beam_python3.11_sdk")
    assert len(python.hashes) == 1


def test_the_graph_begins_with_us() -> None:
    whole = as_json(locked_packages())
    assert whole["metadata"]["component"]["name"] == "gauntlet-tfx"
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in whole["dependencies"]}
    named = {re.sub("@.*", "", ref) for ref in needs["gauntlet-tfx"]}
    assert {"pkg:pypi/tfx", "pkg:pypi/tensorflow", "pkg:pypi/click"} <= named
    assert "pkg:pypi/pytest" not in named


def test_both_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sbom.py", str(tmp_path / "build")])
    sbom.main()
    sbom.main()
    assert json.loads((tmp_path / "build/sbom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    lines = (tmp_path / "build/licences.txt").read_text().splitlines()
    assert len(lines) == len(locked_packages())
    assert f"{len(lines)} packages: {tmp_path}/build/sbom.cdx.json" in capsys.readouterr().out
