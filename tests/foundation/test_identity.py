"""Foreign packages with the names of ours: one clear error, wherever they come from."""

import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from foundation import identity
from foundation.errors import ConfigError
from foundation.identity import HOME, check_own_packages
from foundation.process import Child
from robustness.config import ThreatModel


def test_our_own_packages_are_found() -> None:
    check_own_packages()


@pytest.mark.parametrize("package", identity.PACKAGES)
@pytest.mark.parametrize("module", [False, True], ids=["package", "module"])
def test_a_foreign_package_on_the_path(
    package: str, module: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / (f"{package}.py" if module else package)
    if module:
        foreign.write_text("raise AssertionError('foreign')")
    else:
        write(foreign)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", f"/elsewhere{os.pathsep}{tmp_path}")
    expected = (
        f"Python finds another package {package} in {foreign} before Gauntlet's own in {HOME}: "
        f"PYTHONPATH names {tmp_path}; take it out"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        check_own_packages()


def test_a_foreign_folder_without_a_module_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes it before it asks the finder of an editable installation."""
    spec = ModuleSpec("trainer", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "trainer")]
    finder = SimpleNamespace(find_spec=lambda name, *_: spec if name == "trainer" else None)
    monkeypatch.delitem(sys.modules, "trainer", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.raises(ConfigError, match=f"another package trainer in {tmp_path}/trainer before"):
        check_own_packages()


def test_a_foreign_package_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one on PyPI, before the finder of an editable installation."""
    install_robustness(tmp_path)
    monkeypatch.delitem(sys.modules, "robustness", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(
        ConfigError,
        match=r"another package robustness .*: uninstall robustness and install Gauntlet again",
    ):
        check_own_packages()


def test_a_foreign_package_that_is_installed_over_ours(tmp_path: Path) -> None:
    """Both from wheels, in one folder: the later one's files win."""
    lines = []
    for package in identity.PACKAGES:
        file = write(tmp_path / package, "") / "__init__.py"
        lines.append(f"{package}/__init__.py,{identity._recorded(file)}0")
    shutil.copytree(HOME / "foundation", tmp_path / "foundation", dirs_exist_ok=True)
    record = tmp_path / "gauntlet_tfx-0.1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("\n".join(lines[:-1]))  # `foundation` is the checkout's
    assert run(CHECK, tmp_path) == (0, "")
    install_robustness(tmp_path)
    code, error = run(CHECK, tmp_path)
    assert code == 1
    assert error.splitlines()[-1].endswith(
        f"another package was installed over Gauntlet's own robustness in {tmp_path}: uninstall "
        "robustness and install Gauntlet again, or give Gauntlet an environment of its own"
    )


def test_a_foreign_package_in_the_current_directory(tmp_path: Path) -> None:
    write(tmp_path / "trainer")
    code, error = run(CHECK, *sys.path, cwd=tmp_path)
    assert code == 1
    assert "Python looks in the current directory first; set PYTHONSAFEPATH=1" in error


@pytest.mark.parametrize("package", ["trainer", "foundation"])
def test_the_command_line_ends_with_one_sentence(package: str, tmp_path: Path) -> None:
    foreign = write(tmp_path / package)
    code, error = run(
        "import sys; sys.argv[1:] = ['gates']\nfrom gauntlet.cli import main; main()",
        tmp_path,
        *sys.path,
    )
    assert code == 2
    assert error.startswith(f"Error: Python finds another package {package} in {foreign} before ")
    assert len(error.splitlines()) == 1


def test_a_child_process_refuses_to_work_with_foreign_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it imports any, be it only for an argument."""
    foreign = write(tmp_path / "robustness")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(ConfigError, match=f"another package robustness in {foreign} before"):
        Child("builtins:print", ThreatModel(epsilon=0.1)).result()


CHECK = "from foundation.identity import check_own_packages; check_own_packages()"


def run(code: str, *path: Path | str, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and error output of a fresh interpreter, which looks into `cwd` where it is
    given."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    environment["PYTHONSAFEPATH"] = "" if cwd else "1"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def write(package: Path, content: str = "raise AssertionError('foreign')") -> Path:
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(content)
    return package


def install_robustness(site: Path) -> None:
    """What pip leaves of the package of that name."""
    write(site / "robustness", "name = 'robustness'")
    info = site / "robustness-1.2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: robustness\nVersion: 1.2.1\n")
    (info / "top_level.txt").write_text("robustness\n")
