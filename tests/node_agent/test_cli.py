import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.pack import Pack
from node_agent.cli import main
from tests.node_agent.processes import free_port

ROOT = Path(__file__).parents[2]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, command: str = "run") -> str:
    """Run a command that must end at once with exit code 2, and return its one sentence."""
    assert main([command, *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("idlesight-node: ")
    assert output.err.count("\n") == 1
    return output.err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "doctor", "status", "pause", "resume"])
def test_each_commands_help_shows_examples_of_it(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    examples = capsys.readouterr().out.split("examples:")[1]
    assert f"idlesight-node {command}" in examples


@pytest.mark.parametrize(
    "arguments", [[], ["walk"], ["run", "--threads", "x"], ["pause", "1h", "2h"]]
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no name"),
        (["--name", "a b"], "name: "),
        (["--name", "a", "--gateway", "#"], "gateway: "),
        (["--name", "a", "--broker", "http://hub"], "mqtt://"),
        (["--name", "a", "--broker", "mqtt://hub:99999"], "broker: "),
        (["--name", "a", "--threads", "0"], "worker.threads: "),
        (["--name", "a", "--config", "/does/not/exist"], "/does/not/exist cannot be read"),
        (["--name", "a", "--pack", "/does/not/exist"], "/does/not/exist"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize("command", ["run", "doctor", "status"])
def test_every_command_refuses_bad_settings_alike(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert "name: " in refused(capsys, "--name", "a b", command=command)


def test_settings_that_can_never_run_are_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('name = "a"\n[governor]\nquiet_hours = ["00:00-12:00", "12:00-24:00"]\n')
    sentence = refused(capsys, "--config", str(file))
    assert "governor.quiet_hours: they cover the whole week" in sentence


def test_a_broker_that_is_away_gives_no_status(capsys: pytest.CaptureFixture[str]) -> None:
    broker = f"mqtt://127.0.0.1:{free_port()}"
    sentence = refused(capsys, "--name", "a", "--broker", broker, command="status")
    assert f"broker {broker} cannot be reached" in sentence


def test_pause_and_resume(capsys: pytest.CaptureFixture[str], state_home: Path) -> None:
    file = state_home / "idlesight" / "kitchen" / "pause.json"
    assert main(["pause", "2h", "--name", "kitchen"]) == 0
    assert capsys.readouterr().out.startswith("paused until ")
    assert file.exists()
    assert main(["pause"]) == 0  # the only node there is
    assert capsys.readouterr().out == "paused until it is resumed\n"
    assert main(["resume"]) == 0
    assert capsys.readouterr().out == "resumed\n"
    assert not file.exists()
    assert main(["resume"]) == 0
    assert capsys.readouterr().out == "it was not paused\n"


def test_which_node_to_pause_must_be_known(
    capsys: pytest.CaptureFixture[str], state_home: Path
) -> None:
    assert "there is none" in refused(capsys, command="pause")
    for name in ("attic", "kitchen"):
        (state_home / "idlesight" / name).mkdir(parents=True)
    assert "there is attic, kitchen: give --name" in refused(capsys, "2h", command="pause")


def test_a_pause_that_is_no_duration(capsys: pytest.CaptureFixture[str]) -> None:
    assert "write 45m, 2h, 1h30m or 1d" in refused(
        capsys, "tomorrow", "--name", "a", command="pause"
    )


def test_a_pause_that_cannot_be_kept(capsys: pytest.CaptureFixture[str], state_home: Path) -> None:
    (state_home / "idlesight").touch()
    assert "cannot be kept" in refused(capsys, "--name", "a", command="pause")


def test_an_unknown_setting_is_named_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('name = "a"\n[governor]\nstrat_share = 0.1\n')
    sentence = refused(capsys, "--config", str(file))
    assert f"{file}: unknown setting `governor.strat_share`" in sentence


def test_an_unknown_variant_names_those_that_are_there(
    capsys: pytest.CaptureFixture[str], pack: Pack
) -> None:
    sentence = refused(capsys, "--name", "a", "--pack", str(pack.path), "--variant", "V7")
    assert "V1, V2, V9" in sentence


def test_a_flipped_byte_in_the_pack_is_refused(
    capsys: pytest.CaptureFixture[str], pack: Pack, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pack.path, copy)
    model = bytearray((copy / "V1.tflite").read_bytes())
    model[100] ^= 1
    (copy / "V1.tflite").write_bytes(model)
    assert "V1.tflite" in refused(capsys, "--name", "a", "--pack", str(copy))


def test_a_missing_model_file_is_refused(
    capsys: pytest.CaptureFixture[str], pack: Pack, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pack.path, copy)
    (copy / "V2.tflite").unlink()
    assert "V2.tflite is missing" in refused(capsys, "--name", "a", "--pack", str(copy))


def imported(statements: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after the statements."""
    script = f"{statements}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in process.stderr.split()}


RUNTIMES = {"ai_edge_litert", "tflite_runtime"}


def test_help_imports_nothing_heavy() -> None:
    script = "from node_agent.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    loaded = imported(script)
    assert not loaded & {"asyncio", "pydantic", "paho", "numpy", "PIL", "psutil", *RUNTIMES}


def test_the_link_does_not_carry_what_only_the_worker_needs() -> None:
    assert not imported("import node_agent.commands") & {
        "PIL",
        "numpy",
        "psutil",
        "torch",
        *RUNTIMES,
    }


def test_the_worker_does_not_carry_what_only_the_link_needs() -> None:
    loaded = imported("import node_agent.worker_main, node_agent.served_model")
    assert not loaded & {"pydantic", "paho", "aiomqtt", "asyncio", "psutil", "torch"}
