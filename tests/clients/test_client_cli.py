"""The `touchstone-client` command against a real service."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest

from indexer.imaging.encode import encode_png
from tests.clients.helpers.http_front import HttpFront
from tests.helpers.part_images import part, plain
from tests.helpers.waiting import eventually
from touchstone_client import Client, InspectionFilter
from touchstone_client.cli import main


def run(*arguments: object, url: str = "", code: int = 0) -> str:
    """The command's output, or its one-line error where the expected exit code is at least 2."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            returned: object = main([*(["--url", url] if url else []), *map(str, arguments)])
        except SystemExit as ended:  # as --help does
            returned = ended.code
    assert returned == code, output.getvalue() + errors.getvalue()
    if code >= 2:
        assert len(errors.getvalue().strip().splitlines()) == 1
        return errors.getvalue()
    return output.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of good parts; beside it a scratched part and a file that is no image."""
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(part(5000 + seed))
    (tmp_path / "bad.png").write_bytes(part(7, scratched=True))
    (tmp_path / "text.png").write_text("not an image")
    return folder


def test_onboarding_is_idempotent_and_settings_can_be_changed(service: str, images: Path) -> None:
    assert "4 added, 0 duplicates" in run("onboard", "shell", images, url=service)
    assert "0 added, 4 duplicates" in run("onboard", "shell", images, url=service)
    run("onboard", "shell", images.parent / "text.png", url=service, code=1)
    listed = run("categories", url=service)
    [shell] = json.loads(run("categories", "shell", "--json", url=service))
    assert "Set false_reject_rate to" in shell["calibration"]["advice"]
    assert listed.splitlines()[0].split()[:2] == ["category", "references"]
    changed = json.loads(run("categories", "shell", "--set", "k=9", "--set", "threshold=0.5", "--json", url=service))
    assert (changed[0]["settings"]["k"], changed[0]["settings"]["threshold"]) == (9, 0.5)
    assert "0.5000" in run("categories", "shell", url=service)
    first = json.loads(run("references", "shell", "--order", "name", "--text", "0.PNG", "--json", url=service))
    assert [reference["filename"] for reference in first] == ["0.png"]
    run("references", "--remove", first[0]["id"], 10**12, url=service, code=1)
    assert "0.png" in run("references", "shell", "--removed", url=service)
    assert run("condense", "shell", url=service).strip() == "shell: all references are searched"
    asked = json.loads(run("condense", "shell", "--bound", "1.9", "--json", url=service))
    assert asked["target"] == {"share": None, "bound": 1.9}
    assert "shell" in run("condense", "shell", url=service).splitlines()[-1]
    run("condense", "shell", "--share", "1", url=service, code=2)
    assert "all references" in run("condense", "shell", "--undo", url=service)
    (images.parent / "mask.png").write_bytes(encode_png(np.tri(64, dtype=np.uint8)))
    assert " 1 " in run("region", "shell", "--mask", images.parent / "mask.png", url=service).splitlines()[-1]
    saved = images.parent / "saved.png"
    run("region", "shell", "--save", saved, url=service)
    assert cv2.imread(str(saved)).mean() == pytest.approx(0.77 * 255 / 2, abs=3)  # of the window
    assert "image" in run("region", "shell", "--mask", images.parent / "text.png", url=service, code=2)
    whole = json.loads(run("region", "shell", "--everywhere", "--json", url=service))
    assert whole["region"] is None
    with Client(service) as client:
        client.remove_category("shell")


def test_the_exit_code_of_detect_is_the_verdict(service: str, images: Path) -> None:
    detect = ("detect", "--category", "disc", "--station", "shell")
    with Client(service) as client:
        seeds = range(6000, 6050)
        good = next(seed for seed in seeds if client.inspect(part(seed), category="disc").verdict == "normal")
    (images / "0.png").write_bytes(part(good))
    assert "normal" in run(*detect, images / "0.png", url=service)
    with Client(service) as client:
        before = next(iter(client.inspections())).id
    assert "normal" in run(*detect, "--no-record", images / "0.png", url=service)
    with Client(service) as client:
        assert next(iter(client.inspections())).id == before
    [unrecorded] = json.loads(run(*detect, "--no-wait", "--json", images / "0.png", url=service))
    assert unrecorded["recorded"] is None
    overlays = images.parent / "overlays"
    output = run(*detect, "--overlays", overlays, "--json", images.parent / "bad.png", url=service, code=1)
    [detection] = json.loads(output)
    assert (detection["verdict"], detection["station"]) == ("anomalous", "shell")
    assert len(detection["regions"][0]["box"]) == 4
    assert [path.read_bytes()[:4] for path in overlays.iterdir()] == [b"\x89PNG"]
    assert "text.png" in run(*detect, images.parent / "text.png", url=service, code=2)
    assert "no such file" in run(*detect, "missing.png", url=service, code=2)
    assert "no category" in run("detect", "--category", "nothing", images / "0.png", url=service, code=2)


def test_labelled_images_make_a_test_set_that_is_evaluated(service: str, images: Path) -> None:
    good = ("--good", images.parent / "good" / "3.png")
    table = run("test-set", "disc", *good, "--defective", images.parent / "bad.png", url=service)
    assert table.splitlines()[0].split()[:3] == ["started", "images", "done"]
    rejected = run("test-set", "disc", "--good", images.parent / "text.png", "--json", url=service, code=1)
    assert isinstance(json.loads(rejected), list)
    with Client(service) as client:
        assert {image.defective for image in client.labelled_images("disc")} == {False, True}
        k = client.category("disc").settings.k
        finished = eventually_evaluated(client)
        client.update_category("disc", k=k - 1)
        shown = run("roll-back", "disc", str(finished), "--dry-run", url=service)
        assert f"k: {k - 1} → {k}" in shown
        assert json.loads(run("roll-back", "disc", str(finished), "--json", url=service))["settings"] == ["k"]
        assert client.category("disc").settings.k == k
        assert "At least 16 good and 8 defective" in run("tune", "disc", url=service, code=2)
        assert "no category" in run("roll-back", "nothing", url=service, code=2)
        for image in client.labelled_images("disc"):
            client.remove_labelled_image("disc", image.id)


def eventually_evaluated(client: Client) -> int:
    """The id of the first evaluation of `disc` that is finished."""

    def finished() -> list[int]:
        return [evaluation.id for evaluation in client.evaluations("disc") if evaluation.finished_at is not None]

    eventually(lambda: bool(finished()), "the test set was not evaluated", 60)
    return finished()[0]


def test_inspections_are_listed_and_watched(service: str) -> None:
    watch = ["watch", "--station", "w", "--json", "--poll-interval", "0.05", "--count", "2"]
    command = [sys.executable, "-m", "touchstone_client", "--url", service, *watch]
    with Client(service) as client:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            inspected = []
            while watching.poll() is None and len(inspected) < 40:  # until it has started and printed two
                inspected.append(client.inspect(part(len(inspected)), category="disc", station="w").id)
            printed = [json.loads(line)["id"] for line in watching.stdout]
        assert watching.returncode == 0
        first = inspected.index(printed[0])
        assert printed == inspected[first : first + 2]
    listed = json.loads(run("inspections", "--station", "w", "--limit", "1", "--json", url=service))
    assert [inspection["id"] for inspection in listed] == inspected[-1:]
    csv = run("inspections", "--station", "w", "--csv", url=service)
    assert len(csv.splitlines()) == len(inspected) + 1
    assert run("inspections", "--until", "2020-01-01", url=service).split()[:2] == ["time", "verdict"]


def test_the_exit_code_of_label_is_whether_it_needs_confirmation(service: str, tmp_path: Path) -> None:
    with Client(service) as client:
        wrong = client.inspect(part(70, kind=1), category="disc").id
        assert json.loads(run("label", wrong, "defect", "--json", url=service))["label"] == "defect"
        client.update_category("disc", defect_classes=["dent"])
        named = ("label", wrong, "defect", "--class", "dent", "--comment", "deep")
        assert "defect, dent, deep" in run(*named, url=service)
        assert "no defect class" in run("label", wrong, "defect", "--class", "nick", url=service, code=2)
        assert wrong in run("inspections", "--label", "defect", "--class", "dent", url=service)
        assert run("pareto", "--class", "dent", url=service).splitlines()[1].split() == [
            "dent",
            "1",
            "100.0%",
            "100.0%",
        ]
        assert json.loads(run("pareto", "--until", "2020-01-01", "--json", url=service))["total"] == 0
        run("report", tmp_path / "dents.html", "--class", "dent", "--time-zone", "Asia/Tokyo", url=service)
        assert "deep" in (tmp_path / "dents.html").read_text(encoding="utf-8")
        assert ".pdf or .html" in run("report", tmp_path / "dents.doc", url=service, code=2)
        archive = tmp_path / "dents.zip"
        assert f"{archive}: inspections 1, references " in run("dataset", archive, "--class", "dent", url=service)
        assert "No matching inspection is labelled" in run("dataset", archive, "--class", "nick", url=service, code=2)
        assert "is empty" in run("dataset", archive, "--test-set", "disc", url=service, code=2)
        assert run("label", wrong, "defect", "--comment", "", url=service).strip() == f"{wrong}: defect, dent"
        assert "`confirm`" in run("label", wrong, "good", url=service, code=1)
        assert client.inspection(wrong).label == "defect"
        reference = client.set_label(wrong, "good", confirm=True).promoted_reference_id
        assert f"good, reference {reference}" in run("label", wrong, "good", url=service)
        assert "no label" in run("label", wrong, "none", url=service)
        assert f"{wrong}: good" in run("label", wrong, "good", "--confirm", url=service)
        assert run("label", wrong, "none", url=service)
    assert "no inspection" in run("label", "nothing", "good", url=service, code=2)


def test_parts_that_wait_are_listed_and_decided(service: str) -> None:
    with Client(service) as client:
        wrong = client.inspect(plain(0), category="disc").id
        listed = json.loads(run("review", "--category", "disc", "--reason", "unfamiliar", "--json", url=service))
        assert wrong in [inspection["id"] for inspection in listed]
        assert run("review", url=service).split()[0] == "reason"
        assert "0 of 1 decided" in run("decide", "good", wrong, url=service, code=1)
        assert "no inspection nowhere" in run("decide", "defect", "nowhere", wrong, url=service, code=2)
        assert client.inspection(wrong).label == "defect"
        [reopened] = json.loads(run("decide", "reopen", wrong, "--json", url=service))
        assert reopened["inspection"]["reviewed_at"] is None
        assert "1 of 1 decided: dismiss" in run("decide", "dismiss", wrong, url=service)


def test_an_error_is_one_line_and_an_exit_code(service: str, tmp_path: Path) -> None:
    assert "healthz" not in run("--total-timeout", "0.3", "categories", url="http://127.0.0.1:9", code=3)
    assert "not a service URL" in run("categories", url="nonsense", code=2)
    assert "NAME=VALUE" in run("categories", "disc", "--set", "k", url=service, code=2)
    assert "k" in run("categories", "disc", "--set", "k=0", url=service, code=2)
    assert "'' is no name" in run("categories", "", url=service, code=2)
    assert "'..' is no inspection id" in run("label", "..", "good", url=service, code=2)
    assert "no such file" in run("--key-file", tmp_path / "none", "categories", url=service, code=2).lower()


def test_help_explains_commands_and_exit_codes() -> None:
    text = run("--help")
    commands = ("onboard", "detect", "categories", "inspections", "label", "watch")
    for word in (*commands, "exit codes", "TOUCHSTONE_URL"):
        assert word in text
    for command in commands:
        assert "exit codes" in run(command, "--help")


def test_an_overlay_is_written_for_a_file_whose_name_is_as_long_as_can_be(service: str, images: Path) -> None:
    long, overlays = images / f"{'ä' * 125}.png", images.parent / "overlays"
    long.write_bytes(part(7, scratched=True))
    with Client(service) as client:  # other tests may have corrected the category
        normal = client.inspect(long, category="disc", record=False).verdict == "normal"
    run("detect", "--category", "disc", "--no-record", "--overlays", overlays, long, url=service, code=int(not normal))
    assert [path.read_bytes()[:4] for path in overlays.iterdir()] == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("option", "value", "command"),
    [
        ("--limit", "-1", "inspections"),
        ("--since", "yesterday", "inspections"),
        ("--until", "0001-01-01", "inspections"),
        ("--count", "-1", "watch"),
        ("--poll-interval", "-1", "watch"),
        ("--poll-interval", "nan", "watch"),
    ],
)
def test_a_wrong_value_is_told_with_its_option(option: str, value: str, command: str) -> None:
    errors = io.StringIO()
    with redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main([command, option, value])
    assert ended.value.code == 2
    assert f"error: argument {option}: " in errors.getvalue()
    assert value in errors.getvalue().splitlines()[-1]


def test_names_that_the_output_cannot_show_are_escaped_and_json_stays_json(service: str, images: Path) -> None:
    name = "日本語 \N{SMILING FACE WITH OPEN MOUTH}.png"
    (images / name).write_bytes(part(5))
    command = [sys.executable, "-m", "touchstone_client", "--url", service, "detect", "--no-record", images / name]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    table, text = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True, encoding="ascii").stdout
        for more in ((), ("--json",))
    )
    assert "\\u65e5\\u672c\\u8a9e \\U0001f603.png" in table
    assert json.loads(text)[0]["filename"] == name


def test_output_that_nobody_reads_any_more_ends_the_command_without_a_word(service: str) -> None:
    command = [sys.executable, "-m", "touchstone_client", "--url", service, "references", "--limit", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_leaves_the_results_so_far(service: str, images: Path) -> None:
    for seed in range(200):
        (images / f"{seed}.png").write_bytes(part(8000 + seed))
    command = [sys.executable, "-m", "touchstone_client", "--url", service, "detect", "--station", "ctrl-c", images]
    with Client(service) as client, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        station = InspectionFilter(station="ctrl-c")
        eventually(lambda: len(list(client.inspections(station))) >= 3, "some are inspected")
        process.send_signal(signal.SIGINT)
        table, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 3 <= len(table.splitlines()) < 200


def test_an_error_stands_below_the_progress_that_a_terminal_shows(service: str, images: Path) -> None:
    for number in range(17):  # two requests
        (images / f"{number:02d}.png").write_bytes(part(5100 + number))
    for path in images.glob("?.png"):
        path.unlink()

    def respond(_: str, name: str) -> int | None:
        return 401 if name == "16.png" else None

    terminal, stderr = pty.openpty()
    with HttpFront(service, respond) as front:
        command = [sys.executable, "-m", "touchstone_client", "--url", front.url, "onboard", "shell", images]
        process = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr)
    os.close(stderr)
    shown = os.read(terminal, 4096)
    os.close(terminal)
    assert process.returncode == 2
    assert b"16 of 17 images\r\ntouchstone-client: " in shown
    assert b"1 not sent" in process.stdout
    with Client(service) as client:
        client.remove_category("shell")
