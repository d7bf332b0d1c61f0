"""A decision put into the words that automations read."""

from collections.abc import Sequence

import numpy as np

from broker.payloads import Contributor, LabelScore, Region, Result
from gateway.collector import Decision
from gateway.confidence import stated, status_of
from gateway.regions import Box
from models.ensemble import top_k

# The winner and what it might have been instead; more only makes every message longer.
TOP_COUNT = 3


def build_result(decision: Decision, labels: Sequence[str], *, pack: str) -> Result:
    """Return the result to publish.

    Args:
        decision: how the frame ended.
        labels: the pack's, C of them.
        pack: the pack's name.
    """
    top = _top(decision, labels)
    confidence = top[0].score if top else None
    if confidence is None:
        status = "no_answer"
    elif len(decision.contributions) < decision.ticket.quorum:
        status = "unsure"
    else:
        status = status_of(confidence, decision.ticket.min_confidence)
    return Result(
        camera=decision.ticket.camera,
        frame=decision.ticket.frame,
        captured_at=decision.ticket.captured_at,
        status=status,
        label=top[0].label if top else None,
        confidence=confidence,
        top=top,
        decided=decision.decided,
        contributors=[
            Contributor(node=part.node, variant=part.variant, ms=part.inference_ms)
            for part in decision.contributions
        ],
        expected=decision.expected,
        missing=list(decision.missing),
        latency_ms=round(decision.latency_s * 1000, 2),
        deadline_ms=decision.ticket.deadline_ms,
        pack=pack,
        region=_region(decision.ticket.region),
        quorum=decision.ticket.quorum,
        agreement=_agreement(decision),
        slack_ms=max(0.0, round(decision.ticket.deadline_ms - decision.latency_s * 1000, 2)),
        age_ms=round((decision.ticket.age_s + decision.latency_s) * 1000, 2),
    )


def _top(decision: Decision, labels: Sequence[str]) -> list[LabelScore]:
    if decision.scores is None or decision.probabilities is None:
        return []
    _, ranking = top_k(decision.scores, min(TOP_COUNT, len(labels)))
    return [
        LabelScore(label=labels[index], score=stated(decision.probabilities[index]))
        for index in ranking.tolist()
    ]


def _agreement(decision: Decision) -> float | None:
    if decision.scores is None or not decision.contributions:
        return None
    winner = int(np.argmax(decision.scores))
    agree = sum(part.best == winner for part in decision.contributions)
    return stated(agree / len(decision.contributions))


def _region(box: Box | None) -> Region | None:
    if box is None:
        return None
    return Region(
        x=stated(box.x), y=stated(box.y), width=stated(box.width), height=stated(box.height)
    )
