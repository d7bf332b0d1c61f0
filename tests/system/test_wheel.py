"""What a borrowed device installs: the wheel with the node extra, and nothing else."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from models.pack import load_pack, shipped_packs

ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 600
# One of these on a node would be tens of megabytes that it never uses.
NOT_ON_A_NODE = ("torch", "av", "rich", "yaml", "amqtt", "skimage", "fastapi", "starlette")

pytestmark = pytest.mark.wheel


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_packages_and_the_default_pack_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"broker", "models", "node_agent", "gateway"}
    for name, path in shipped_packs().items():
        assert f"models/packs/{name}/pack.json" in names
        for entry in load_pack(path).manifest.variants:
            assert {f"models/packs/{name}/{file.file}" for file in entry.files} <= set(names)
    assert wheel.stat().st_size < 10_000_000


def test_node_extra_alone_runs_the_agent_in_an_empty_environment(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", f"{wheel}[node]", cwd=tmp_path)
    help_text = _run(tmp_path / "env" / "bin" / "idlesight-node", "--help", cwd=tmp_path)
    assert "examples:" in help_text
    listing = "import importlib.util as i, sys; print([n for n in sys.argv[1:] if i.find_spec(n)])"
    assert _run(python, "-c", listing, *NOT_ON_A_NODE, cwd=tmp_path).strip() == "[]"
    # The parts that a node runs load there, down to a first inference of the shipped pack.
    first = (
        "import numpy, broker.session, node_agent.agent, node_agent.worker_main;"
        "from models.pack import load_pack; from models.runtime import Classifier;"
        "c = Classifier(load_pack().model('V1'));"
        "print(len(c.classify(numpy.zeros((96, 96, 3), numpy.float32))))"
    )
    assert _run(python, "-c", first, cwd=tmp_path).strip() == str(len(load_pack().labels))
