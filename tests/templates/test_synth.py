"""`cdk synth` itself, with the real command line: the same everywhere, without network or credentials."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_PARTS = (
    *("app.py", "cdk.json", "package.json", "contracts", "stacks", "lambda", "price_list", "stories"),
    "training_code",
)
_NOWHERE = "http://127.0.0.1:9"


def _copy_of_the_checkout(folder: Path) -> Path:
    for part in _PARTS:
        source = _CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / part)
    page = folder / "web" / "dist"
    page.mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>Storyloom</title>")
    (folder / ".build").mkdir()
    for made in ("functions", "container-images.json"):
        if (_CHECKOUT / ".build" / made).exists():
            (folder / ".build" / made).symlink_to(_CHECKOUT / ".build" / made)
    return folder


def _synth(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    programs = [str(Path(sys.executable).parent), os.defpath]
    environment = {
        "PATH": os.pathsep.join(programs),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTPS_PROXY": _NOWHERE,
        "HTTP_PROXY": _NOWHERE,
        "PYTHONDONTWRITEBYTECODE": "",
        # Only what was unpacked and compiled before: neither says anything about the templates.
        **{name: os.environ[name] for name in ("JSII_RUNTIME_PACKAGE_CACHE_ROOT", "NODE_COMPILE_CACHE")},
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        **variables,
    }
    cdk = _CHECKOUT / "node_modules" / ".bin" / "cdk"
    command = [str(cdk), "synth", "--quiet", "--no-notices", "--no-color", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def test_two_folders_make_the_same_bytes(tmp_path: Path) -> None:
    one = _copy_of_the_checkout(tmp_path / "one")
    other = _copy_of_the_checkout(tmp_path / "another" / "much" / "deeper")
    for folder in (one, other):
        synth = _synth(folder)
        assert synth.returncode == 0, synth.stdout + synth.stderr
    first, second = _files(one / "cdk.out"), _files(other / "cdk.out")
    assert set(first) == set(second)
    different = [name for name, file in first.items() if not filecmp.cmp(file, second[name], shallow=False)]
    assert different == []
    assert {"manifest.json", "tree.json", "Storyloom-Pipeline.template.json"} <= set(first)
    for name in (name for name in first if "/" not in name and name.endswith(".json")):
        assert str(tmp_path) not in first[name].read_text(), name


def test_wrong_settings_are_reported_without_a_traceback(tmp_path: Path) -> None:
    folder = _copy_of_the_checkout(tmp_path / "app")
    synth = _synth(folder, "-c", "spot=maybe", "-c", "base_model=gpt-3")
    assert synth.returncode != 0
    assert 'spot = "maybe"' in synth.stderr
    assert "its weights are closed" in synth.stderr
    assert "Traceback" not in synth.stderr
    assert re.search(r"exited with error 2\b", synth.stderr + synth.stdout)


def test_another_cdk_cli_than_the_pinned_one_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = _copy_of_the_checkout(tmp_path / "app")
    tools = folder / "package.json"
    pinned = json.loads(tools.read_text())["devDependencies"]["aws-cdk"]
    tools.write_text(tools.read_text().replace(pinned, "2.9999.0"))
    synth = _synth(folder)
    assert synth.returncode != 0
    assert f"This is CDK CLI {pinned}, and Storyloom is tested with 2.9999.0 alone." in synth.stderr
    assert "npx --no-install cdk" in synth.stderr
    assert "Traceback" not in synth.stderr


def test_an_unsupported_region_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = _copy_of_the_checkout(tmp_path / "app")
    synth = _synth(folder, AWS_REGION="ap-east-2")
    assert synth.returncode != 0
    assert "cannot be deployed in ap-east-2: SageMaker's Hugging Face training container" in synth.stderr
    assert "Choose another region, such as ap-northeast-1" in synth.stderr
    assert "Traceback" not in synth.stderr


def test_an_account_without_an_address_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = _copy_of_the_checkout(tmp_path / "app")
    synth = _synth(folder, CDK_DEFAULT_ACCOUNT="123456789012")
    told = synth.stdout + synth.stderr
    assert synth.returncode != 0
    assert "admin_email is empty, so nobody could sign in. Give your address with" in told
    assert "Traceback" not in told


def test_an_unacknowledged_finding_stops_the_synthesis(tmp_path: Path) -> None:
    folder = _copy_of_the_checkout(tmp_path / "app")
    storage = folder / "stacks" / "storage" / "stack.py"
    source = storage.read_text()
    careless = source.replace('    acknowledge(bucket, "AwsSolutions-S1", _NO_ACCESS_LOG)\n', "")
    assert careless != source
    storage.write_text(careless)
    synth = _synth(folder)
    assert synth.returncode != 0
    assert "AwsSolutions-S1" in synth.stderr + synth.stdout
