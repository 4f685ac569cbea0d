"""The program itself: doctor, credentials, settings."""

import re
import subprocess

import pytest

from harness.functions import Factory, runtimes
from harness.paths import LAMBKIN, ROOT


def lambkin(*arguments, **options):
    return subprocess.run([LAMBKIN, *arguments], capture_output=True, text=True, timeout=30, **options)


def test_doctor():
    done = lambkin("doctor")
    assert done.returncode == 0, done.stdout
    assert "provided.al2023" in runtimes()
    assert any(name.startswith("python3.") for name in runtimes())


def test_version_and_help():
    assert re.match(r"lambkin \d+\.\d+\.\d+", lambkin("--version").stdout)
    assert "serve" in lambkin("--help").stdout
    assert lambkin("no-such-command").returncode == 2


def test_credentials_are_made_once(tmp_path):
    first = lambkin("credentials", "--data-dir", tmp_path / "data")
    again = lambkin("credentials", "--data-dir", tmp_path / "data")
    assert first.returncode == 0 and first.stdout == again.stdout
    assert re.search(r"^export AWS_ACCESS_KEY_ID=AKIA[A-Z2-7]{16}$", first.stdout, re.M)
    secrets = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert secrets and all(path.stat().st_mode & 0o077 == 0 for path in secrets)
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_settings_that_make_no_sense():
    for arguments in (["--listen", "nowhere"], ["--account-id", "12"], ["--time-scale", "0"], ["--memory-mb", "0"],
                      ["--config", "/no/such/file"]):
        done = lambkin("serve", *arguments)
        assert done.returncode != 0 and "panicked" not in done.stderr and done.stderr


def test_settings_file(own_server):
    path = own_server.work / "lambkin.toml"
    path.write_text('listen = "127.0.0.1:%d"\ndata-dir = "%s"\nregion = "eu-west-3"\n' % (own_server.port, own_server.data_dir))
    own_server.command = lambda: [str(LAMBKIN), "serve", "--config", str(path)]
    own_server.start()
    assert own_server.client("lambda").list_functions()["Functions"] == []
    path.write_text("no-such-key = 1\n")
    done = lambkin("serve", "--config", path)
    assert done.returncode != 0 and "no-such-key" in done.stderr


@pytest.mark.parametrize("isolation", ["auto", "process"])
def test_a_data_folder_by_a_relative_path(own_server, isolation):
    own_server.command = lambda: [
        str(LAMBKIN), "serve", "--listen", "127.0.0.1:%d" % own_server.port, "--data-dir", "data", "--isolation", isolation,
    ]  # fmt: skip
    own_server.cgroups = isolation != "process"
    own_server.allow("WARN .*isolation=process")
    own_server.start()
    function = Factory(own_server)("def handler(event, context):\n    return [event, open(__file__).read(9)]\n")
    assert function.result({"a": 1}) == [{"a": 1}, "def handl"]
    done = lambkin("credentials", "--data-dir", "data", cwd=own_server.work)
    assert done.returncode == 0 and own_server.credentials().access_key in done.stdout


def test_the_commented_file_is_what_the_program_takes():
    assert (ROOT / "config/lambkin.toml").is_file()
