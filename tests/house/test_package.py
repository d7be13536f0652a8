"""What a user installs holds every file of the two packages, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = {
    "commands": "ds_cli/commands",
    "configs": "deepseek/configs",
    "kernels": "deepseek/kernels",
}
SUFFIXES = {".py", ".toml", ".typed", ".md"}


def tracked() -> set[str]:
    """Every file of the checkout that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in listing.stdout.splitlines() if (ROOT / line).is_file()}


def packaged() -> set[str]:
    return {f for f in tracked() if f.startswith(("deepseek/", "ds_cli/"))}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy of the tracked files."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def test_wheel_holds_exactly_the_packages(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert names == packaged()


def test_packages_hold_only_code_settings_and_readmes() -> None:
    assert {PurePosixPath(name).suffix for name in packaged()} <= SUFFIXES
    pages = {PurePosixPath(name).name for name in packaged() if name.endswith(".md")}
    assert pages <= {"README.md"}


def test_sdist_holds_the_sources_and_what_describes_them(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    names = {n for n in names if ".egg-info/" not in n} - {"PKG-INFO", "setup.cfg"}
    left_out = {".gitignore", ".ci/run", *LINKS}
    assert names == tracked() - left_out


@pytest.mark.parametrize(("link", "folder"), LINKS.items())
def test_links_at_the_root_lead_into_the_packages(link: str, folder: str) -> None:
    assert (ROOT / link).is_symlink()
    assert (ROOT / link).readlink() == Path(folder)
