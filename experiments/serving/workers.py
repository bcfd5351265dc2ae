"""The processes that serve: which kind each is, and its first calls."""

from __future__ import annotations

from experiments.validation.preparing import cap_of
from sim.answering import Answerer
from sim.worker import ModelOpening, Opening, Worker, WorkerError

from .offer import Offer
from .openings import Steadfast

WARM_CALLS = 2


def worker_of(server: int, opening: Opening) -> Worker:
    """A process of its own; what computes nothing is given no data."""
    computes = isinstance(opening, ModelOpening)
    return (Answerer if computes else Worker)(server, Steadfast(opening))


def contract_said(worker: Worker, offer: Offer) -> Offer:
    """What is offered, with what the model says that it takes and gives."""
    return offer.answering(worker.contract()) if isinstance(worker, Answerer) else offer


def warm_up(worker: Worker, offer: Offer) -> str:
    """Call a model in its smallest and largest shape: the first calls allocate and compile.

    A function gets requests that are made up from what it declares, which it may not like.

    Returns:
        Why it is not warm; empty: it is.

    Raises:
        WorkerError: a model cannot be called.
    """
    if not isinstance(worker, Answerer):
        return ""
    contract = worker.contract()
    if contract is not None and not contract.inputs:
        return ""
    service = offer.service
    shortest, longest = (int(service.length_edges[place]) for place in (0, -1))
    largest = cap_of([offer.policy], service.largest_batch)
    for lengths in ([shortest], [longest] * largest) * WARM_CALLS:
        worker.start(0, lengths)
        failure = worker.answer().failure
        if failure and contract is not None and not contract.finite:
            return f"it is not warm, since requests that were made up for it failed: {failure}"
        if failure:
            raise WorkerError(failure)
    return ""
