from pathlib import Path

import pytest
import yaml

import gateway
from gateway.camera_settings import Steadiness
from gateway.errors import SettingsError
from gateway.settings import (
    GatewaySettings,
    check_labels,
    effective_yaml,
    load_settings,
    masked,
)

EXAMPLE = Path(gateway.__file__).parent / "home.example.yaml"


def load(directory: Path, text: str) -> GatewaySettings:
    file = directory / "home.yaml"
    file.write_text(text)
    return load_settings(file)


def test_the_least_settings_have_defaults_for_the_rest(tmp_path: Path) -> None:
    settings = load(tmp_path, "cameras: {porch: {source: pictures}}")
    assert (settings.gateway, settings.prefix, settings.pack) == ("home", "idlesight", None)
    assert settings.broker.url == "mqtt://127.0.0.1:1883"
    assert settings.homeassistant.discovery == "component"
    camera = settings.cameras["porch"]
    assert camera.source == str(tmp_path / "pictures")
    assert (camera.fps, camera.deadline_ms, camera.min_confidence) == (1.0, 500, 0.5)
    assert (camera.fit, camera.jpeg_quality) == ("crop", 85)
    assert camera.decide_early
    assert not camera.loop
    assert not camera.pan


def test_the_example_loads_and_shows_every_setting() -> None:
    settings = load_settings(EXAMPLE)
    written = yaml.safe_load(EXAMPLE.read_text())
    assert set(written) == set(GatewaySettings.model_fields)
    shown = {key for camera in written["cameras"].values() for key in camera}
    assert shown == set(type(settings.cameras["front_door"]).model_fields)
    assert settings.gateway == "home"
    assert settings.cameras["holiday"].pan
    assert settings.cameras["front_door"].is_url


def test_what_the_example_says_of_defaults_is_true() -> None:
    example = load_settings(EXAMPLE)
    front_door = example.cameras["front_door"]
    bare = GatewaySettings.model_validate({"cameras": {"front_door": {"source": "x://y"}}})
    kept = {"source", "username", "password", "name", "fps"}
    assert front_door.model_dump(exclude=kept) == bare.cameras["front_door"].model_dump(
        exclude=kept
    )
    assert example.model_dump(exclude={"cameras"}) == bare.model_dump(exclude={"cameras"})


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "pack: ../packs/mine\n"
        "broker: {host: h, tls: true, ca_file: ca.crt}\n"
        "cameras:\n  a: {source: clip.mp4}\n  b: {source: /abs/clip.mp4}\n  c: {source: http://h/x}",
    )
    assert settings.pack == tmp_path / "../packs/mine"
    assert settings.broker.ca_file == tmp_path / "ca.crt"
    assert [camera.source for camera in settings.cameras.values()] == [
        str(tmp_path / "clip.mp4"),
        "/abs/clip.mp4",
        "http://h/x",
    ]


@pytest.mark.parametrize("written", ["off", "'off'", "false"])
def test_discovery_off_is_a_word_though_yaml_reads_a_truth_value(
    tmp_path: Path, written: str
) -> None:
    text = f"cameras: {{a: {{source: x}}}}\nhomeassistant: {{discovery: {written}}}"
    assert load(tmp_path, text).homeassistant.discovery == "off"


def test_effective_settings_hide_passwords(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "broker: mqtt://me:hush@broker:1884\n"
        "cameras: {porch: {source: 'rtsp://admin:secret@10.0.0.2/live', fps: 2}}",
    )
    shown = effective_yaml(settings)
    assert "hush" not in shown
    assert "secret" not in shown
    data = yaml.safe_load(shown)
    assert data["broker"]["host"] == "broker"
    assert data["broker"]["password"] == "**********"
    assert data["cameras"]["porch"]["source"] == "rtsp://***@10.0.0.2/live"
    assert data["cameras"]["porch"]["deadline_ms"] == 500


def test_effective_settings_can_be_loaded_again(tmp_path: Path) -> None:
    settings = load(tmp_path, "cameras: {porch: {source: pictures, loop: true}}")
    assert load(tmp_path, effective_yaml(settings)) == settings


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://me:pw@host/x", "rtsp://***@host/x"),
        ("rtsp://me@host/x", "rtsp://***@host/x"),
        ("http://host/x?at=a@b", "http://host/x?at=a@b"),
        ("/a/path@home", "/a/path@home"),
    ],
)
def test_masked_source(source: str, shown: str) -> None:
    assert masked(source) == shown


CAMERA = "cameras: {porch: {source: x, "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "{}",
            "cameras is missing; add it, for example {porch: {source: ./pictures}}",
        ),
        (
            CAMERA + "fsp: 2}}",
            "cameras.porch.fsp is not a setting; did you mean fps?",
        ),
        (
            CAMERA + "zzz: 2}}",
            "cameras.porch.zzz is not a setting; known here: kind, source, username, "
            "password, verify_tls, options, field, silent_after_s, name, fps, deadline_ms, "
            "min_confidence, decide_early, loop, pan, fit, jpeg_quality, motion, quorum, "
            "state",
        ),
        (
            CAMERA + "state: {k: 2, n: 5}}}",
            "cameras.porch.state: k must be more than half of n and at most n, but k is 2 and n "
            "is 5",
        ),
        (
            CAMERA + "state: {labels: {cat: {n: 2}}}}}",
            "cameras.porch.state: k for cat must be more than half of n and at most n, but k is 3 "
            "and n is 2",
        ),
        (
            CAMERA + "state: {labels: {cat: {hold: 2}}}}}",
            "cameras.porch.state.labels.cat.hold is not a setting; did you mean hold_s?",
        ),
        (
            CAMERA + "fps: 0.01}}",
            "cameras.porch: state.within_s is too short: at fps 0.01 the results for a state take "
            "200 s",
        ),
        (
            CAMERA + "motion: {sensitvity: 1}}}",
            "cameras.porch.motion.sensitvity is not a setting; did you mean sensitivity?",
        ),
        (
            CAMERA + "motion: {mask: [[[0, 0], [1.5, 0], [1, 1]]]}}}",
            "cameras.porch.motion.mask.0.1.0 should be less than or equal to 1, but is 1.5; "
            "correct it",
        ),
        (
            CAMERA + "motion: {mask: [[[0, 0], [1, 0], [1, 1], [0, 1]]]}}}",
            "cameras.porch.motion: include and mask leave nothing of the frame; make one smaller",
        ),
        (
            "camera: {}\ncameras: {a: {source: x}}",
            "camera is not a setting; did you mean cameras?",
        ),
        (
            "cameras: {porch: {fps: 2}}",
            "cameras.porch.source is missing; add it, for example rtsp://192.168.1.20/stream",
        ),
        (
            CAMERA + "fps: 0}}",
            "cameras.porch.fps should be greater than 0, but is 0; correct it, for example 2",
        ),
        (
            CAMERA + "fps: .nan}}",
            "cameras.porch.fps should be a finite number, but is nan; correct it, for example 2",
        ),
        (
            CAMERA + "deadline_ms: soon}}",
            "cameras.porch.deadline_ms should be a valid integer, unable to parse string as an "
            "integer, but is 'soon'; correct it, for example 500",
        ),
        (
            CAMERA + "fit: squash}}",
            "cameras.porch.fit should be 'crop' or 'stretch', but is 'squash'; correct it, for "
            "example crop",
        ),
        (
            CAMERA + "fps: -1, jpeg_quality: 100}}",
            "cameras.porch.fps should be greater than 0, but is -1; correct it, for example 2 "
            "(1 more after it)",
        ),
        (
            "cameras: {a: {source: 'rtsp://h/x', loop: true}}",
            "cameras.a: loop is for files, not for a URL; remove loop",
        ),
        (
            "cameras: {a: {source: 'a/b', kind: mqtt, loop: true}}",
            "cameras.a: loop is for files, not for a source of kind mqtt; remove loop",
        ),
        (
            "cameras: {a: {source: /dev/video0, pan: true}}",
            "cameras.a: pan is for files, not for a device; remove pan",
        ),
        (
            "cameras: {a: {source: 'a/b#', kind: mqtt}}",
            "cameras.a.source: 'a/b#' is no MQTT topic or topic filter",
        ),
        (
            "cameras: {a: {source: '+/+/cameras/x/image', kind: mqtt}}",
            "cameras.a.source: +/+/cameras/x/image takes in what this gateway itself publishes; "
            "write the topic of the pictures alone",
        ),
        (
            "cameras: {a: {source: ./x, kind: snapshot}}",
            "cameras.a: kind snapshot needs an http:// or https:// source",
        ),
        (
            "cameras: {a: {source: 'http://h/x', kind: watch}}",
            "cameras.a: kind watch needs a directory as its source",
        ),
        (
            "cameras: {a: {source: 'http://h/x', field: image}}",
            "cameras.a: field is for pictures from MQTT; add kind: mqtt or remove field",
        ),
        (
            "cameras: {a: {source: 'http://h/x', password: hush}}",
            "cameras.a: a password needs a username",
        ),
        (
            "cameras: {a: {source: ./x, username: me}}",
            "cameras.a: username is for a URL; remove username and password",
        ),
        (
            "cameras: {a: {source: 'http://me:hush@h/x', username: me}}",
            "cameras.a: a login stands in source and in username; keep one of them",
        ),
        (
            "cameras: {front door: {source: x}}",
            "cameras.front door is no usable id, but 'front door'; use letters, digits, _ and -, "
            "at most 64, in quotes if YAML takes it for a number or a truth value",
        ),
        (
            "cameras: {1: {source: x}}",
            "cameras.1 is no usable id, but 1; use letters, digits, _ and -, at most 64, in quotes "
            "if YAML takes it for a number or a truth value",
        ),
        (
            "cameras: {}",
            "cameras should have at least 1 item after validation, not 0, but is {}; correct it, "
            "for example {porch: {source: ./pictures}}",
        ),
        (
            "gateway: my home\ncameras: {a: {source: x}}",
            "gateway is no usable id, but 'my home'; use letters, digits, _ and -, at most 64, in "
            "quotes if YAML takes it for a number or a truth value",
        ),
        (
            "broker: http://h\ncameras: {a: {source: x}}",
            "broker: URL begins with 'http'; write mqtt:// or mqtts://",
        ),
        (
            "broker: {hots: h}\ncameras: {a: {source: x}}",
            "broker.hots is not a setting; did you mean host?",
        ),
        (
            "broker: {password: [hush]}\ncameras: {a: {source: x}}",
            "broker.password should be a valid string, but is something else; correct it",
        ),
        (
            "broker: {password: hush}\ncameras: {a: {source: x}}",
            "broker: a password needs a username",
        ),
        (
            "homeassistant: {discovery: devices}\ncameras: {a: {source: x}}",
            "homeassistant.discovery should be 'component', 'device' or 'off', but is 'devices'; "
            "correct it, for example component",
        ),
        ("", "holds no settings; start with `cameras:`, see home.example.yaml"),
        ("- a", "holds no settings; start with `cameras:`, see home.example.yaml"),
        (
            "cameras:\n  a: {source: x}\n  a: {source: y}",
            "line 3, column 3: 'a' stands there twice; correct it",
        ),
        ("cameras: [", "line 1, column 11: expected the node content, but found '<stream end>'; "),
        ("cameras: {{}: x}", "line 1, column 11: found unhashable key; correct it"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'home.yaml'}: {sentence}")
    assert "\n" not in message
    assert "hush" not in message


def test_a_password_in_a_wrong_source_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, "cameras: {a: {source: [rtsp://me:hush@h/x]}}")
    assert "hush" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: there is no such file; write one"):
        load_settings(tmp_path / "none.yaml")


def test_a_directory_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text; save it as UTF-8"),
        (b"a" * (1024 * 1024 + 1), "is larger than 1 MiB"),
        (b"a: \x00", "is not YAML"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "home.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=problem):
        load_settings(file)


def test_login_goes_into_the_url_whatever_its_characters(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "cameras: {a: {source: 'rtsp://h:554/x?y=1', username: 'me@home', password: 'a/b:c@d'}}",
    )
    camera = settings.cameras["a"]
    assert camera.url == "rtsp://me%40home:a%2Fb%3Ac%40d@h:554/x?y=1"
    assert camera.source == "rtsp://h:554/x?y=1"
    assert "a/b:c@d" not in effective_yaml(settings)


def test_a_topic_is_no_path(tmp_path: Path) -> None:
    text = "cameras: {a: {kind: mqtt, source: frigate/yard/+/snapshot}}"
    assert load(tmp_path, text).cameras["a"].source == "frigate/yard/+/snapshot"


@pytest.mark.parametrize(
    ("written", "both"), [("off", False), ("'off'", False), ("on", True), ("{}", None)]
)
def test_motion_on_and_off_are_short_for_both_parts(
    tmp_path: Path, written: str, both: bool | None
) -> None:
    motion = load(tmp_path, CAMERA + f"motion: {written}}}}}").cameras["porch"].motion
    assert (motion.gate, motion.crop) == (both, both)


def test_state_of_a_label_differs_where_it_says_so(tmp_path: Path) -> None:
    text = (
        CAMERA + "state: {k: 4, n: 6, hold_s: 7, labels: {cat: {k: 2, n: 3}, dog: {hold_s: 1}}}}}"
    )
    state = load(tmp_path, text).cameras["porch"].state
    assert [state.of(label) for label in (None, "cow", "cat", "dog")] == [
        Steadiness(4, 6, 7),
        Steadiness(4, 6, 7),
        Steadiness(2, 3, 7),
        Steadiness(4, 6, 1),
    ]
    assert state.longest == 6


def test_label_that_the_pack_does_not_have_is_refused(tmp_path: Path) -> None:
    settings = load(tmp_path, CAMERA + "state: {labels: {persn: {hold_s: 1}}}}}")
    check_labels(settings, ["persn"], "home")
    with pytest.raises(SettingsError) as caught:
        check_labels(settings, ["cat", "person"], "home")
    assert str(caught.value) == (
        "cameras.porch.state.labels.persn: pack home has no such label; did you mean person?"
    )
    watching = load(tmp_path, CAMERA + "watch: [cat, persn]}}")
    with pytest.raises(SettingsError, match=r"^cameras\.porch\.watch\.persn: pack home has no"):
        check_labels(watching, ["cat", "person"], "home")


def test_state_stands_beside_the_settings_or_where_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "cameras: {a: {source: x}}\ngateway: attic\n"
    beside = load(tmp_path, text + "state_dir: state\n")
    assert beside.state_file == tmp_path / "state" / "idlesight.attic.json"
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert load(tmp_path, text).state_file == Path("/x/idlesight/idlesight.attic.json")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/y")
    assert load(tmp_path, text).state_file == Path("/var/lib/y/idlesight.attic.json")
