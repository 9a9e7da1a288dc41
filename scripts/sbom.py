"""The bill of materials (CycloneDX, JSON) of what the lock files install, and the licences.

    python scripts/sbom.py [FOLDER]        # `make sbom`; FOLDER is build/

Writes `sbom.cdx.json` and `licences.txt`. Packages of requirements.lock are required, NVIDIA's are
optional, those that only a checkout has (tools of development, peers) are excluded. The packages of
the private glibc, where this environment has one, and the images of kubeflow/Dockerfile are
components too. Versions and hashes are those of the lock files; licences and dependencies are what
the installed packages say of themselves, and nobody has read them for you.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click
from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
GLIBC = Path(sys.prefix) / "lib" / "private-glibc" / "packages"
SCOPES = {
    "requirements.lock": ComponentScope.REQUIRED,
    "requirements-gpu.lock": ComponentScope.OPTIONAL,
    "requirements-dev.lock": ComponentScope.EXCLUDED,
    "requirements-peers.lock": ComponentScope.EXCLUDED,
}
LOCKED = re.compile(r"^([\w.-]+)==(\S+).*?\n((?: +--hash=.*\n)+)", re.MULTILINE)

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "GPL-3.0": "GPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Names that packages give their licences, and the identifiers of SPDX. `BSD License` has none: it
may be any of several."""

COPYLEFT = re.compile(r"\b(?:[AL]?GPL|MPL|EPL|CDDL|EUPL|OSL)\b|GNU|Mozilla|Eclipse")
UNKNOWN = "unknown"
NOT_INSTALLED = "not installed here"


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A package of a lock file.

    hashes: `sha256:...` of each file that it is published as.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    scope: ComponentScope


def locked_packages(root: Path = ROOT) -> list[Locked]:
    """Every package once, with the scope of the first lock file that has it."""
    found: dict[str, Locked] = {}
    for file, scope in SCOPES.items():
        for name, version, lines in LOCKED.findall((root / file).read_text()):
            hashes = tuple(re.findall(r"--hash=(\S+)", lines))
            package = Locked(name=name, version=version, hashes=hashes, scope=scope)
            found.setdefault(canonicalize_name(name), package)
    return list(found.values())


def licences_of(package: Locked) -> list[str]:
    """What the installed package states: SPDX identifiers or expressions where they can be told,
    otherwise its own words."""
    try:
        stated = metadata.metadata(package.name)
    except metadata.PackageNotFoundError:
        return [NOT_INSTALLED]
    if expressions := stated.get_all("License-Expression"):
        return expressions
    field = (stated.get_all("License") or [""])[0].strip().partition("\n")[0]
    classifiers = [line for line in stated.get_all("Classifier") or [] if "License :: " in line]
    names = [line.rpartition(" :: ")[2] for line in classifiers]
    named = [SPDX.get(name, name) for name in names if name != "OSI Approved"]
    written = SPDX.get(field, field)
    if len(named) < 2 and is_supported_id(written):
        return [written]  # a classifier is less exact; two of them say more than one field
    return named or [written or UNKNOWN]


def licence(text: str) -> License:
    return LicenseFactory().make_from_string(
        text, license_acknowledgement=LicenseAcknowledgement.DECLARED
    )


def python_component(package: Locked, licences: Sequence[str]) -> Component:
    stated = [text for text in licences if text not in (UNKNOWN, NOT_INSTALLED)]
    purl = PackageURL("pypi", None, canonicalize_name(package.name), package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        scope=package.scope,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[HashTypeFactory().from_composite_str(text) for text in package.hashes],
        licenses=[licence(text) for text in stated],
    )


def glibc_components(record: Path = GLIBC) -> Iterator[Component]:
    """The packages that scripts/private-glibc wrote down."""
    for line in record.read_text().splitlines() if record.exists() else ():
        name, version, sha256 = line.split()
        place = {"arch": "amd64", "distro": "trixie"}
        purl = PackageURL("deb", "debian", name, version, place)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=purl.to_string(),
            purl=purl,
            hashes=[HashTypeFactory().from_composite_str(f"sha256:{sha256}")],
        )


def image_components(root: Path = ROOT) -> Iterator[Component]:
    """Base images of the Dockerfile: a digest where it has one, otherwise the tag."""
    text = (root / "kubeflow" / "Dockerfile").read_text()
    for image in re.findall(r"^ARG (?:BASE|BEAM_SDK)=(\S+)$", text, re.MULTILINE):
        tagged, _, digest = image.partition("@")
        path, _, tag = tagged.partition(":")
        namespace, _, name = path.rpartition("/")
        purl = PackageURL("docker", namespace or None, name, digest or tag, {"tag": tag})
        yield Component(
            name=path,
            version=tag,
            type=ComponentType.CONTAINER,
            bom_ref=purl.to_string(),
            purl=purl,
            hashes=[HashTypeFactory().from_composite_str(digest)] if digest else [],
        )


def required_by(name: str) -> set[str]:
    """Packages that an installed package declares for this machine, without its extras."""
    try:
        declared = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return set()
    requirements = map(Requirement, declared)
    applies = {"extra": ""}
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(applies)
    }


def bill(packages: Sequence[Locked], licences: dict[str, list[str]]) -> Bom:
    """The bill of materials, with the graph of dependencies."""
    ours = Component(
        name="gauntlet-tfx",
        version=metadata.version("gauntlet-tfx"),
        type=ComponentType.APPLICATION,
        bom_ref="gauntlet-tfx",
        licenses=[licence("Apache-2.0")],
    )
    python: dict[str, Component] = {
        canonicalize_name(package.name): python_component(package, licences[package.name])
        for package in packages
    }
    others = [*glibc_components(), *image_components()]
    bom = Bom(components=[*python.values(), *others])
    bom.metadata.component = ours
    for name, component in [("gauntlet-tfx", ours), *python.items()]:
        needs = sorted(required_by(name) & python.keys())
        bom.register_dependency(component, [python[need] for need in needs])
    return bom


def table(packages: Sequence[Locked], licences: dict[str, list[str]]) -> Iterator[str]:
    """A line for each package, by licence."""
    rows = sorted((", ".join(licences[p.name]), p.scope.value, p.name, p.version) for p in packages)
    for stated, scope, name, version in rows:
        yield f"{stated:<50} {scope:<9} {name} {version}"


def summary(packages: Sequence[Locked], licences: dict[str, list[str]]) -> Iterator[str]:
    """How many packages state which licence, and those that a person has to look at."""
    stated = {package.name: ", ".join(licences[package.name]) for package in packages}
    for text, count in Counter(stated.values()).most_common():
        yield f"{count:>4} {text}"
    for what, pattern in (
        ("copyleft", COPYLEFT),
        ("no licence stated", re.compile(UNKNOWN)),
        ("not installed here, licence not read", re.compile(NOT_INSTALLED)),
    ):
        for scope in ComponentScope:
            names = [
                p.name for p in packages if p.scope is scope and pattern.search(stated[p.name])
            ]
            if names:
                yield f"{what} ({scope.value}): {', '.join(names)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bill of materials and the licences.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build")
    folder = parser.parse_args().folder
    packages = locked_packages()
    licences = {package.name: licences_of(package) for package in packages}
    folder.mkdir(parents=True, exist_ok=True)
    JsonV1Dot6(bill(packages, licences)).output_to_file(
        str(folder / "sbom.cdx.json"), allow_overwrite=True, indent=2
    )
    (folder / "licences.txt").write_text("\n".join(table(packages, licences)) + "\n")
    for line in summary(packages, licences):
        click.echo(line)
    click.echo(f"{len(packages)} packages: {folder}/sbom.cdx.json, {folder}/licences.txt")


if __name__ == "__main__":
    main()
