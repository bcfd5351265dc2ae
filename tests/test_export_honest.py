"""No export approximates in silence: it is exact and comes back, or it says what differs."""

import json

import pytest
from export_settings import LARGEST, SERVERS, SIZES, WAITS_MS, means, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export import STACKS
from experiments.export.comment import NOT_EXACT
from experiments.export.contract import NotExpressible
from experiments.export.plan import Plan
from experiments.export.reading import module_of

NAMES = (
    "kserve",
    "torchserve",
    "tensorflow-serving",
    "bentoml",
    "mlserver",
    "litserve",
    "text-embeddings-inference",
    "vllm",
)


@st.composite
def any_setting(draw):
    """A setting of any kind of window, or of one that is none, on any service."""
    size, wait = draw(SIZES), draw(st.just(0) | WAITS_MS)
    kinds = {
        "greedy": {"max_batch_size": size},
        "static": {"batch_size": size},
        "size_or_timeout": {
            "max_batch_size": size,
            "max_wait_ms": wait,
            "min_batch_size": draw(st.just(0) | st.integers(1, size)),
            "from_idle": draw(st.booleans()),
        },
        "preferred_sizes": {
            "preferred_batch_size": draw(st.lists(st.integers(1, size), max_size=3)),
            "max_batch_size": size,
            "max_wait_ms": wait,
        },
        "length_bucketed": {
            "boundaries": draw(st.sampled_from([[], [64], [64, 200]])),
            "max_batch_size": size,
            "max_wait_ms": wait,
        },
        "token_budget": {
            "max_tokens": draw(st.integers(1, 512 * LARGEST)),
            "max_batch_size": size,
            "max_wait_ms": wait,
        },
        "snap": {"max_batch_size": size},
        "rate_aware": {"max_batch_size": size},
    }
    kind = draw(st.sampled_from(sorted(kinds)))
    return setting(
        kind,
        servers=draw(SERVERS),
        capacity=draw(st.none() | st.integers(0, 1000)),
        capacity_counts_in_system=draw(st.booleans()),
        timeout_ns=draw(st.none() | st.integers(10**12, 10**13)),
        **kinds[kind],
    )


def written(exported):
    """All texts as one line, so that a wrapped comment is whole."""
    text = "\n".join(exported.files.values())
    return " ".join(text.replace("\n#", " ").split())


@pytest.mark.parametrize("name", NAMES)
@given(wanted=any_setting())
def test_an_export_is_exact_or_refused_and_the_nearest_says_what_differs(name, wanted):
    module = module_of(STACKS[name])
    nearest = module.export(wanted, nearest=True)
    try:
        exact = module.export(wanted, nearest=False)
    except NotExpressible as refused:
        assert refused.stack == name
        assert refused.nearest is not None
        assert not nearest.exact
        text = written(nearest)
        assert NOT_EXACT in text
        plan = refused.nearest.what
        differences = plan.notes if isinstance(plan, Plan) else (refused.nearest.difference,)
        assert differences
        assert all(difference.startswith("it ") for difference in differences)
        for each in "; ".join(differences).split("; it "):
            assert each.removeprefix("it ") in text
    else:
        assert exact == nearest
        assert exact.exact
        assert NOT_EXACT not in written(exact)
        if hasattr(module, "read"):
            names = [each for each in exact.files if not each.endswith((".md", ".py"))]
            found = module.read({each: exact.files[each] for each in names})
            assert means(found.table, wanted)
            assert found.servers == wanted.servers


@pytest.mark.parametrize("name", NAMES)
@given(wanted=any_setting())
def test_every_text_carries_the_evidence_and_every_note(name, wanted):
    exported = module_of(STACKS[name]).export(wanted, nearest=True)
    text = written(exported)
    assert "run bert/tune-1 of batchwright 0.1.0" in text
    assert "p99 12.5 (12 to 13)" in text
    assert all(f"Note: {note}." in text for note in exported.notes)
    for file, content in exported.files.items():
        if file.endswith(".json"):
            json.loads(content)
            assert "README.md" in exported.files
        else:
            assert "Policy winner: " in content
