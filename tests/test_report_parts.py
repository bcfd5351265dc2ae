"""Parts of a report: text that is escaped, axes, ticks and lines."""

from __future__ import annotations

import math
import re
from html import unescape

import pytest

from experiments.report.charts import Axis, Chart, Mark, Series, drawn
from experiments.report.elements import Markup, element
from experiments.report.looks import Look
from experiments.report.scales import linear_ticks, log_ticks, scale_of, thinned
from experiments.report.script import SCRIPT


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert (
        element("p", inner, "<i>", title='"x"') == f'<p title="&quot;x&quot;">{inner}&lt;i&gt;</p>'
    )
    assert isinstance(inner, Markup)
    assert unescape(inner.removeprefix("<b>").removesuffix("</b>")) == "a < b & c"


def test_the_script_has_no_way_to_the_net():
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|document\.write|http", SCRIPT)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (3.2, 3.9), (-12.0, 5.0), (0.0, 8e4)])
def test_ticks_are_round_and_inside(low, high):
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_values_far_apart_get_a_log_axis_of_few_round_ticks():
    scale = scale_of([1.0, 900.0], 0, 100)
    assert scale.log
    assert scale(30.0) == pytest.approx(50.0, abs=0.5)
    assert log_ticks(1, 20) == [1.0, 2.0, 5.0, 10.0, 20.0]
    assert not scale_of([2.0, 9.0], 0, 100).log
    assert not scale_of([-1.0, 900.0], 0, 100).log


def test_thinning_keeps_both_ends():
    assert list(thinned(5, 9)) == [0, 1, 2, 3, 4]
    kept = thinned(1000, 10)
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 10)


def test_a_line_is_broken_where_a_value_is_missing():
    marks = [Mark(x, math.nan if x == 2 else x, f"at {x}") for x in (0.0, 1.0, 2.0, 3.0, 4.0)]
    one = Chart("t", [Series("s", marks, Look("s0"))], Axis("x"), Axis("y"))
    assert drawn(one).count('class="line"') == 2
    assert "at 2" not in drawn(one)
    empty = Chart("t", [Series("s", marks[2:3], Look("s0"))], Axis("x"), Axis("y"))
    assert drawn(empty) is None
