"""How a validation is shown: tables at most 100 columns wide, figures, JSON, a frame, HTML."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from windows_by_hand import GOOD, calibrated, rejected, validated

from experiments.figures import save
from experiments.validation import Validation
from experiments.validation.figures import figures_of
from experiments.validation.result import Reading
from experiments.validation.shown import (
    COLUMNS,
    a_priori_error,
    conditions,
    load_table,
    lost,
    measured,
    replay_error,
    signed,
    validation_tables,
)
from experiments.validation.summary import STATISTICS


@pytest.fixture(scope="module")
def found():
    return validated(loads=(0.2, 0.5), rounds=2, calibration=calibrated(2), replications=40)


@pytest.fixture(scope="module")
def nothing():
    return validated(
        loads=(0.2,), rounds=1, change=lambda windows: rejected(windows, (0, 1)), replications=5
    )


def lines_of(*shown, width=100):
    """The lines that a terminal of this width shows."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for one in shown:
        console.print(one)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def changed(match, statistic, **changes):
    """A match with another cell."""
    cells = tuple(
        replace(cell, **changes) if cell.statistic == statistic else cell for cell in match.cells
    )
    return replace(match, cells=cells)


# the terminal


def test_there_is_a_table_a_load_then_conditions_then_the_verdict(found):
    shown = validation_tables(found)
    lines = lines_of(*shown)
    heads = [line for line in lines if line.startswith("At load")]
    assert heads == ["At load 0.2, 2 rounds", "At load 0.5, 2 rounds"]
    assert str(shown[-1]) == found.verdict
    assert str(shown[-2]) == conditions(found.readings)
    assert "± half the range of the rounds" in str(shown[-3])


def test_a_policy_has_four_rows(found):
    lines = lines_of(load_table(found, 0.2))
    rule = next(k for k, line in enumerate(lines) if "───" in line)
    firsts = [line.split()[0] for line in lines[rule + 1 :] if line.strip()]
    assert firsts == ["greedy", "replay", "a", "with", "patient", "replay", "a", "with"]


def test_the_columns_are_latencies_batch_and_busy(found):
    drawn = load_table(found, 0.2)
    heads = [str(column.header).replace("\n", " ") for column in drawn.columns]
    assert heads == [
        "policy", "mean, ms", "p50, ms", "p90, ms", "p99, ms", "mean batch", "busy %",
    ]  # fmt: skip


def test_no_line_is_wider_than_100_even_with_long_names_and_large_values(found):
    def long(match):
        cells = tuple(
            replace(c, policy="x" * 70, live=tuple(1000 * v for v in c.live)) for c in match.cells
        )
        return replace(match, policy=match.policy + "_of_a_very_long_name" * 4, cells=cells)

    wide = replace(found, matches=tuple(map(long, found.matches)))
    lines = lines_of(*(load_table(wide, load) for load in wide.loads), width=300)
    assert max(map(len, lines)) <= 100
    assert sum("±" in line for line in lines) == 4


def test_a_measured_value_has_the_digits_that_its_spread_supports(found):
    cell = replace(found.matches[0].cell("mean"), live=(12.30, 12.40))
    assert measured(cell) == "12.35 ± 0.05"
    assert measured(replace(cell, live=(12.35,))) == "12.35"
    assert measured(replace(cell, statistic="busy", live=(0.50, 0.52))) == "51 ± 1"


def test_a_value_outside_its_interval_is_marked(found):
    cell = found.matches[0].cell("p99")
    value = cell.measured
    inside = replace(cell, predicted=1.02 * value, low=0.9 * value, high=1.1 * value)
    outside = replace(cell, predicted=1.2 * value, low=1.1 * value, high=1.3 * value)
    assert str(a_priori_error(inside)) == "+2.0 %"
    assert str(a_priori_error(outside)) == "! +20.0 %"
    assert str(a_priori_error(outside).style) == "yellow"


def test_the_mark_is_explained_where_there_is_one_and_only_there(found):
    def inside(match):
        cells = tuple(replace(c, low=0.0, high=math.inf) for c in match.cells)
        return replace(match, cells=cells)

    calm = replace(found, matches=tuple(map(inside, found.matches)))
    off = [changed(m, "mean", low=0.0, high=0.1) for m in calm.matches]
    marked = replace(found, matches=tuple(off))
    assert not any("!" in line for line in lines_of(*validation_tables(calm)))
    text = "\n".join(lines_of(*validation_tables(marked)))
    assert "! outside the 90 % interval" in text


def test_a_replay_beyond_the_gate_is_red_where_the_gate_applies(found):
    calm, busy = found.match("patient", 0.2), found.match("greedy", 0.5)
    for match, style in ((calm, "bold red"), (busy, "")):
        cell = match.cell("p90")
        off = replace(cell, replay=tuple(0.95 * value for value in cell.live))
        assert str(replay_error(match, off)) == "-5.0 %"
        assert str(replay_error(match, off).style) == style
    near = replace(calm.cell("p90"), replay=tuple(1.02 * v for v in calm.cell("p90").live))
    assert str(replay_error(calm, near).style) == ""


def test_errors_have_a_sign_and_no_negative_zero():
    assert [signed(e) for e in (0.0412, -0.2, 0.0, None)] == ["+4.1 %", "-20.0 %", "+0.0 %", "-"]


def test_conditions_are_one_line_of_the_accepted_windows():
    late = replace(GOOD, lag_ms_p99=9.0, rejected="the generator was late")
    readings = [
        Reading("greedy", 0.3, place, 0, condition, 10, drift, {})
        for place, (condition, drift) in enumerate(
            [(GOOD, 0.98), (replace(GOOD, late_ms_p99=1.25), 1.031), (late, 2.0)]
        )
    ]
    assert conditions(readings) == (
        "2 of 3 windows accepted; requests up to 0.1 ms late, timers 1.2 ms (p99); "
        "drift 0.98 to 1.03."
    )
    assert conditions(readings[:1]).endswith("; drift 0.98.")


def test_requests_that_were_not_served_are_told_where_there_are_any(found):
    assert list(lost(found)) == []
    some = [changed(m, "lost", live=(2.0, 3.0), predicted=2.0) for m in found.matches[1:2]]
    assert list(lost(replace(found, matches=tuple(some)))) == [
        "Requests not served: patient at load 0.2 2.5 (predicted 2)."
    ]


def test_without_accepted_windows_there_are_conditions_and_a_verdict_alone(nothing):
    assert lines_of(*validation_tables(nothing)) == [
        "0 of 2 windows accepted.",
        "No claim: 2 of 2 windows were rejected, more than half: 2 x the generator was late.",
    ]


def test_numbers_of_which_nothing_is_claimed_come_after_the_word_of_it(found):
    late = replace(GOOD, rejected="the generator was late")
    some = [replace(one, condition=late) for one in found.readings]
    lines = lines_of(*validation_tables(replace(found, readings=tuple(some))))
    count = len(some)
    assert lines[0] == (
        f"Nothing is claimed of the numbers below: {count} of {count} windows were rejected, more "
        "than half."
    )
    assert not lines_of(*validation_tables(found))[0].startswith("Nothing is claimed")


def test_rows_are_those_of_the_cells(found):
    lines = lines_of(load_table(found, 0.5))
    row = next(line for line in lines if line.strip().startswith("patient"))
    for name in COLUMNS:
        assert measured(found.match("patient", 0.5).cell(name)) in row


# JSON, a frame, HTML


def test_json_comes_back_as_the_same_result(found):
    back = Validation.of(json.loads(found.to_json()))
    assert back == found
    assert back.verdict == found.verdict
    assert back.to_json() == found.to_json()


def test_json_says_what_readers_look_for(found):
    data = found.to_dict()
    assert data["no_claim"] == ""
    assert data["device"] == {"device": "by hand"}
    assert data["calibration"]["calls"] == 320
    assert data["coverage"]["total"] == 8 * 7
    assert len(data["windows"]) == 8
    assert data["windows"][0]["condition"]["lag_ms_p99"] == 0.1
    cell = data["cells"][0]
    assert (cell["policy"], cell["statistic"], cell["replay_error"]) == ("greedy", "mean", 0.0)
    assert cell["a_priori"]["low"] < cell["a_priori"]["value"] < cell["a_priori"]["high"]


def test_json_of_nothing_comes_back_too(nothing):
    assert Validation.of(json.loads(nothing.to_json())) == nothing


def test_a_frame_has_a_row_a_cell(found):
    frame = found.to_frame()
    assert len(frame) == 4 * len(STATISTICS)
    row = frame[
        (frame.policy == "patient") & (frame.load == 0.5) & (frame.statistic == "p99")
    ].iloc[0]
    cell = found.match("patient", 0.5).cell("p99")
    assert row.measured == cell.measured
    assert row.a_priori_error == cell.error
    assert (row.windows, row.inside) == (2, cell.inside)


def test_html_has_a_row_a_match_and_the_verdict(found):
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + 4
    assert found.verdict[:60] in html


# figures


def test_there_are_three_figures_and_both_forms_of_each(found, tmp_path):
    drawn = figures_of(found)
    assert list(drawn) == ["latency", "predicted", "batch-sizes"]
    for name, figure in drawn.items():
        assert save(figure, tmp_path / name) == [f"{name}.png", f"{name}.svg"]


def test_the_distribution_has_a_panel_a_load_and_a_line_a_window(found):
    panels = found.plot.ecdf()
    assert [axes.get_title(loc="left") for axes in panels] == ["At load 0.2", "At load 0.5"]
    lines = [line for line in panels[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 4
    assert np.array_equal(lines[0].get_xdata(), found.matches[0].curves.live[0])
    assert len(panels[0].collections) == 2
    shade, curves = panels[0].collections[0].get_paths()[0].vertices[:, 0], found.matches[0].curves
    assert set(curves.low) | set(curves.high) == set(shade.tolist())


def test_more_than_three_loads_take_two_rows(found):
    four = tuple(replace(found.matches[0], load=load) for load in (0.1, 0.2, 0.3, 0.4))
    panels = replace(found, matches=four).plot.ecdf()
    tops = {round(axes.get_position().y0, 3) for axes in panels}
    assert (len(panels), len(tops)) == (4, 2)


def test_predicted_is_drawn_against_measured_with_the_line_where_they_agree(found):
    axes = found.plot.calibration()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xlim() == axes.get_ylim()
    points = {(round(x, 6), round(y, 6)) for line in axes.lines
              if len(line.get_xdata()) == 1
              for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}  # fmt: skip
    for match in found.matches:
        for name in ("p50", "p99"):
            cell = match.cell(name)
            assert (round(cell.measured, 6), round(cell.predicted, 6)) in points


def test_batch_sizes_have_a_panel_a_policy_and_load(found):
    panels = found.plot.batch_sizes()
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [f"{p}, load {load}" for p in ("greedy", "patient") for load in (0.2, 0.5)]
    heights = [bar.get_height() for bar in panels[0].patches]
    assert sum(heights) == pytest.approx(100.0, abs=0.01)


def test_without_accepted_windows_there_is_nothing_to_draw(nothing):
    assert figures_of(nothing) == {}
    for draw in (nothing.plot.ecdf, nothing.plot.calibration, nothing.plot.batch_sizes):
        with pytest.raises(ValueError, match=r"^no window was accepted, so that there is nothing"):
            draw()


def test_a_frame_without_any_accepted_window_has_its_columns(found, nothing):
    assert nothing.matches == ()
    frame = nothing.to_frame()
    assert len(frame) == 0
    assert list(frame.columns) == list(found.to_frame().columns)
