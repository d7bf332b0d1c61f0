"""From pictures to results through real processes on real brokers."""

import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broker.payloads import Result
from broker.session import Session
from models.ensemble import Answer, combine, compress
from models.pack import Pack, load_pack
from models.preprocess import decode_jpeg
from models.rules import CONFIDENCE_RULE, Rule
from models.runtime import Classifier
from tests.system.conftest import CAMERA, PACK, House

pytestmark = pytest.mark.system


class Offline:
    """The ensemble of the house's pack, computed here from the frames that were published."""

    def __init__(self) -> None:
        self.pack: Pack = load_pack(PACK)
        self.classifiers = {
            entry.name: Classifier(self.pack.model(entry.name), interface=entry.interface)
            for entry in self.pack.manifest.variants
        }

    def scores(self, jpeg: bytes, variants: set[str], rule: Rule | None = None) -> np.ndarray:
        """Return the combined scores (C,) of the named variants' top-k answers."""
        manifest = self.pack.manifest
        answers = []
        for entry in manifest.variants:
            if entry.name in variants:
                pixels = decode_jpeg(jpeg, entry.resolution, entry.input_offset)
                scores = self.classifiers[entry.name].classify(pixels)
                answers.append(Answer(*compress(scores, manifest.k), entry.weight))
        return combine(answers, len(manifest.labels), rule or manifest.rule)


@pytest.fixture(scope="module")
def offline() -> Offline:
    return Offline()


def assert_equals_offline(house: House, results: list[Result], offline: Offline) -> None:
    for result in results:
        variants = {one.variant for one in result.contributors}
        jpeg, rule = house.frames[result.frame].jpeg, offline.pack.manifest.rule
        winner = int(offline.scores(jpeg, variants, rule).argmax())
        assert result.label == offline.pack.labels[winner]
        stated = offline.scores(jpeg, variants, CONFIDENCE_RULE[rule])[winner]
        assert result.confidence == pytest.approx(float(stated), abs=1e-4)


async def test_results_are_what_the_variants_together_say_of_the_same_frames(
    any_house: House, photographs: Path, offline: Offline
) -> None:
    house = any_house
    async with house.listening():
        await house.start_all(
            "--exit-when-done",
            source=photographs,
            pan=True,
            fps=5,
            deadline_ms=20_000,
            min_confidence=0,
        )
        assert await house.processes["gateway"].wait() == 0, house.log("gateway")
        sent = len(house.frames)
        assert sent >= 4
        await house.until(lambda: len(house.results) == sent, "a result for every frame")
        assert [result.frame for result in house.results] == sorted(house.frames)
        assert all(result.status == "answered" for result in house.results)
        assert_equals_offline(house, house.results, offline)
        complete = [result for result in house.results if len(result.contributors) == 3]
        assert len(complete) > 0.8 * sent, house.log("nV1")  # a busy machine evicts some
        for result in complete:
            assert (result.decided, result.missing, result.expected) == ("all", [], 3)


@pytest.mark.mosquitto
async def test_early_decisions_are_those_that_all_variants_would_have_come_to(
    house: House, photographs: Path, offline: Offline
) -> None:
    everyone = {"V1", "V2", "V3"}
    async with house.listening():
        await house.start_all(
            source=photographs, pan=True, loop=True, fps=5, deadline_ms=20_000, decide_early=True
        )
        await house.until(
            lambda: sum(result.decided == "certain" for result in house.results) >= 5,
            "results decided early",
        )
        for result in house.results:
            if result.decided != "certain":
                continue
            assert len(result.contributors) + len(result.missing) == result.expected == 3
            scores = offline.scores(house.frames[result.frame].jpeg, everyone)
            assert result.label == offline.pack.labels[int(scores.argmax())]
            assert (result.status == "answered") == (round(float(scores.max()), 4) >= 0.5)


@pytest.mark.shared
@pytest.mark.mosquitto
async def test_accuracy_on_cifar10_equals_the_offline_evaluation_of_the_same_frames(
    house: House, shared: Path, offline: Offline, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    truth: list[str] = []
    tiles = {
        sheet.stem: Image.open(sheet)
        for sheet in sorted((shared / "data" / "cifar10" / "test").iterdir())
    }
    for index in range(20):  # 200 frames, the classes in turn
        for label, sheet in tiles.items():
            tile = sheet.crop((index * 32, 0, index * 32 + 32, 32))
            tile.save(folder / f"{len(truth):04d}.png")
            truth.append(label)
    async with house.listening():
        await house.start_all(
            "--exit-when-done", source=folder, fps=10, deadline_ms=20_000, min_confidence=0
        )
        assert await house.processes["gateway"].wait() == 0, house.log("gateway")
        await house.until(lambda: len(house.results) == len(truth), "a result for every frame")
    truth_of = dict(zip(sorted(house.frames), truth, strict=True))
    in_time = [result for result in house.results if len(result.contributors) == 3]
    assert len(in_time) > 0.8 * len(truth), "a busy machine may miss some, not many"
    everyone = {"V1", "V2", "V3"}
    right = right_offline = 0
    for result in in_time:
        scores = offline.scores(house.frames[result.frame].jpeg, everyone)
        expected = offline.pack.labels[int(scores.argmax())]
        assert result.label == expected
        right += result.label == truth_of[result.frame]
        right_offline += expected == truth_of[result.frame]
    assert right == right_offline
    assert right / len(in_time) > 0.5, "ten classes, and the pack is far better than chance"


async def test_one_then_two_of_three_agents_die_and_every_frame_is_answered(
    any_house: House, photographs: Path, offline: Offline
) -> None:
    house = any_house
    async with house.listening():
        await house.start_all(source=photographs, pan=True, loop=True, fps=5)
        await house.next_results(3)
        await house.end("nV2", signal.SIGKILL)
        await _until_contributors(house, {"V1", "V3"})
        await house.end("nV3", signal.SIGKILL)
        await _until_contributors(house, {"V1"})
        survived = house.results.copy()
        numbers = [result.frame for result in survived]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none is missing"
        assert all(result.contributors for result in survived)
        assert all(result.status != "no_answer" for result in survived)
        assert_equals_offline(house, survived, offline)

        await house.end("nV1", signal.SIGKILL)
        await house.until(lambda: house.results[-1].status == "no_answer", "no_answer")
        last = house.results[-1]
        assert (last.label, last.confidence, last.contributors) == (None, None, [])


@pytest.mark.mosquitto
async def test_a_frozen_agent_costs_its_vote_and_no_answer(house: House, photographs: Path) -> None:
    async with house.listening():
        await house.start_all(source=photographs, pan=True, loop=True, fps=4, deadline_ms=1_500)
        await house.next_results(2)
        house.processes["nV1"].send_signal(signal.SIGSTOP)
        await house.until(lambda: house.results[-1].missing == ["nV1"], "results without nV1")
        frozen = house.results[-1]
        assert frozen.decided == "deadline"
        assert {one.variant for one in frozen.contributors} == {"V2", "V3"}
        house.processes["nV1"].send_signal(signal.SIGCONT)
        await _until_contributors(house, {"V1", "V2", "V3"})
        assert all(result.contributors for result in house.results)


async def test_results_resume_after_the_broker_was_away(
    any_house: House, photographs: Path
) -> None:
    house = any_house
    async with house.listening():
        await house.start_all(source=photographs, pan=True, loop=True, fps=4)
        await house.next_results(3)
        await house.end("broker", signal.SIGKILL)
        await house.start_broker()
        await _until_contributors(house, {"V1", "V2", "V3"})
        for name in ("gateway", "nV1", "nV2", "nV3"):
            assert house.processes[name].returncode is None, house.log(name)


@pytest.mark.mosquitto
async def test_the_gateway_gives_each_unassigned_agent_another_variant(
    house: House, photographs: Path
) -> None:
    async with house.listening():
        for name in ("attic", "cellar", "garage"):
            await house.start_node(name)
        await house.start_gateway(
            source=str(photographs), pan=True, loop=True, fps=4, deadline_ms=2_000
        )
        await _until_contributors(house, {"V1", "V2", "V3"})
        nodes = Counter(one.node for one in house.results[-1].contributors)
        assert nodes == Counter(["attic", "cellar", "garage"])


GARBAGE = (b"", b"\x00", b"not for you", b"\xa5\x01" + bytes(30), b'{"half": ', bytes(range(256)))


@pytest.mark.mosquitto
async def test_foreign_and_truncated_messages_on_every_topic_are_dropped(
    house: House, photographs: Path
) -> None:
    async with house.listening() as session:
        await house.start_all(source=photographs, pan=True, loop=True, fps=4)
        await house.next_results(2)
        await _pollute(session, house)
        await _until_contributors(house, {"V1", "V2", "V3"})
        assert await house.end("gateway") == 0
        counts = house.log("gateway").splitlines()[-1]
        assert "dropped.prediction.malformed" in counts
        assert "dropped.node_state.malformed" in counts
        for name in ("nV1", "nV2", "nV3"):
            assert await house.end(name) == 0
        assert "Traceback" not in "".join(house.log(name) for name in ("gateway", "nV1", "nV2"))


async def _pollute(session: Session, house: House) -> None:
    topics = house.topics
    for payload in GARBAGE:
        for topic in (
            topics.predictions("nV1"),
            topics.predictions("stranger"),
            topics.node_state("stranger"),
            topics.node_status("stranger"),
            topics.assignment("nV2"),
            topics.frames(CAMERA),
            topics.camera_set(CAMERA),
            topics.model_part("0" * 64, 0),
        ):
            await session.publish(topic, payload)


async def _until_contributors(house: House, variants: set[str]) -> None:
    """Wait until a result that comes from now on has exactly these variants."""
    begin = len(house.results)

    def came() -> bool:
        return any(
            {one.variant for one in result.contributors} == variants
            for result in house.results[begin:]
        )

    await house.until(came, f"a result of {sorted(variants)}")
