"""The judge of what a policy answers: the same for every driver, by the rules of the contract."""

from __future__ import annotations

from typing import Any, NoReturn

from policies.contract import FIRE, SHED, IntArray, PolicyError, shared

SOUND = 0
FIRED_NOTHING = 1
FIRED_TOO_MANY = 2
FIRED_ABOVE_LARGEST = 3
WAITED_FOR_THE_PAST = 4
TOOK_WITHOUT_FIRING = 5
NO_SUCH_LANE = 6
NO_SUCH_REPLICA = 7
SHED_UNSAID = 8
SHED_NOTHING = 9
FIRED_AT_NO_SERVER = 10

SENTENCES = {
    FIRED_NOTHING: "fired a batch of nothing; `fire` needs a count of at least 1 (rule 6)",
    FIRED_TOO_MANY: "fired more requests than wait in a lane, or a negative number (rule 6)",
    FIRED_ABOVE_LARGEST: "fired a batch above {largest}, the profile's largest (rule 6)",
    WAITED_FOR_THE_PAST: "waits for an instant that is not in the future (rule 7)",
    TOOK_WITHOUT_FIRING: "filled `view.take` and then answered to wait (rule 3)",
    NO_SUCH_LANE: "routed a request to a lane that it does not have (`0 <= lane_of < lanes`)",
    NO_SUCH_REPLICA: "chose a replica that is not there or takes no requests (routing, rule 2)",
    SHED_UNSAID: "sheds requests without saying so; give it `sheds = True` (rule 6)",
    SHED_NOTHING: "shed nobody; `shed` needs a count of at least 1 (rule 6)",
    FIRED_AT_NO_SERVER: "fired while every server is busy, and it does not seal (rule 5)",
}


@shared
def fault_of(
    answer: int, take: IntArray, waiting: IntArray, now_ns: int, largest_batch: int
) -> int:
    """Number of the fault in an answer, or SOUND."""
    size = 0
    for lane in range(take.shape[0]):
        count = take[lane]
        if count < 0 or count > waiting[lane]:
            return FIRED_TOO_MANY
        size += count
    if answer != FIRE:
        if answer == SHED:
            return SHED_UNSAID
        if size != 0:
            return TOOK_WITHOUT_FIRING
        return SOUND if answer > now_ns else WAITED_FOR_THE_PAST
    if size == 0:
        return FIRED_NOTHING
    return FIRED_ABOVE_LARGEST if size > largest_batch else SOUND


@shared
def fault_of_ahead(
    answer: int, take: IntArray, waiting: IntArray, now_ns: int, largest_batch: int, may: int
) -> int:
    """As :func:`fault_of`, of a rule that seals or sheds.

    Args:
        answer: of the rule.
        take: int64 (lanes,), what it takes.
        waiting: int64 (lanes,).
        now_ns: the instant.
        largest_batch: the profile's.
        may: 1 where it may fire, plus 2 where it may shed.
    """
    found = fault_of(answer, take, waiting, now_ns, largest_batch)
    if found == SHED_UNSAID and may >= 2:
        return SOUND if take.sum() > 0 else SHED_NOTHING
    if found == SOUND and answer == FIRE and may % 2 == 0:
        return FIRED_AT_NO_SERVER
    return found


def blame(policy: Any, fault: int, now_ns: int, largest_batch: int) -> NoReturn:
    """Say which rule a policy, or a router, broke, and when.

    Raises:
        PolicyError: always.
    """
    sentence = SENTENCES[fault].format(largest=largest_batch)
    what = "router" if fault == NO_SUCH_REPLICA else "policy"
    raise PolicyError(f"{what} {type(policy).__name__} {sentence}, at {now_ns} ns: {policy!r}")
