import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

import mien
from mien.cli import main
from mien.cli.app import app

COMMANDS = (
    "analyze",
    "serve",
    "video",
    "webcam",
    "train",
    "fine-tune",
    "tune",
    "sweep",
    "lr-range",
    "evaluate",
    "compare",
    "calibrate",
    "export",
    "models",
    "recipes",
    "data",
)


@pytest.fixture
def run_mien(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call ``mien`` as a shell does and return the exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["mien", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"mien {mien.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(app, ["--help"]).output

    for command in COMMANDS:
        assert command in output


def test_a_users_mistake_is_one_line_and_exit_code_2(
    run_mien: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_mien("export", "no-such-run") == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "mien: no-such-run: no such checkpoint; a run folder holds best.ckpt\n"


@pytest.mark.parametrize(
    ("encoding", "told"), [("cp1252", r"\u5199"), ("utf-8", "写"), (None, "写")]
)
def test_any_name_can_be_printed(encoding: str | None, told: str) -> None:
    """A pipe on Windows knows the letters of one language, as PYTHONIOENCODING has it here."""
    environ = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding or ""}
    if encoding is None:
        environ = {**environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
        environ.pop("PYTHONIOENCODING")
    command = [sys.executable, "-m", "mien", "analyze", "no-such-写.jpg"]

    done = subprocess.run(command, capture_output=True, check=False, env=environ)

    assert done.returncode == 2
    assert (
        done.stderr.decode(encoding or "utf-8")
        == f"mien: no-such-{told}.jpg: no such file or folder\n"
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mien.cli.app import app; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "onnxruntime", "onnx", "numpy", "PIL"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train"], "mien: Missing argument "),
        (["nonsense"], "mien: No such command 'nonsense'; see '"),
        (["recipes", "--jsom"], "mien: No such option: --jsom"),
        (["recipes", "--json", "--markdown"], "mien: --json and --markdown: choose one"),
        (["models", "plain", "--depth", "0"], "mien: '--depth': "),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: list[str],
    line: str,
    run_mien: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_mien(*arguments) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1


def test_help_and_version_leave_with_0(run_mien: Callable[..., int]) -> None:
    assert run_mien("--version") == 0
    assert run_mien("data", "--help") == 0


def test_no_arguments_print_the_help_once(
    run_mien: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_mien() == 2

    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("Usage") == 1
    assert "mien: " not in printed.err


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("train", "$MIEN_FER2013"),
        ("train", "runs/RECIPE-DATE-TIME"),
        ("fine-tune", "runs/RECIPE-DATE-TIME"),
        ("tune", "$MIEN_FER2013"),
        ("tune", "runs/tune-RECIPE"),
        ("tune", "label smoothing"),
        ("tune", "sqlite in the folder"),
        ("sweep", "$MIEN_FER2013"),
        ("sweep", "runs/sweep-RECIPE"),
        ("lr-range", "$MIEN_FER2013"),
        ("evaluate", "$MIEN_FER2013"),
        ("export", "RUN/NAME.onnx"),
        ("data explore", "$MIEN_FER2013"),
        ("data download", "kagglehub's cache"),
    ],
)
def test_help_tells_defaults(command: str, default: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output

    assert "default: (" in shown
    assert default in shown


def test_a_notebooks_backend_of_matplotlib_is_left_aside() -> None:
    code = (
        "import sys; sys.argv = ['mien', '--version']\n"
        "from mien.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    import matplotlib; print(matplotlib.get_backend())"
    )
    environment = {**os.environ, "MPLBACKEND": "module://not.installed"}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )

    assert done.stdout.splitlines()[-1] == "agg", done.stderr
