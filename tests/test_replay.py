"""Recorded traces: exact instants, and one sentence with file and line for whatever is wrong."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from sim.arrivals import draw_arrivals
from sim.errors import WorkloadError
from sim.replay import INSTANT, ROWS, read_trace
from sim.streams import stream

S = 1_000_000_000


def written(tmp_path, content, name="trace.csv"):
    file = tmp_path / name
    file.write_text(content)
    return file


def replayed(trace, requests=None, duration_ns=None):
    return draw_arrivals(trace, stream(1, "arrivals"), requests, duration_ns)


def test_decimal_seconds_become_nanoseconds_exactly(tmp_path):
    texts = ["0.0000000", "0.0520000", "0.1", "4.314579", "86400.123456789", "1e5", "+100000.5"]
    trace = read_trace(written(tmp_path, "arrival_s\n" + "\n".join(texts)))
    assert trace.recorded_ns.dtype == np.int64
    assert trace.recorded_ns.tolist() == [
        0,
        52_000_000,
        100_000_000,
        4_314_579_000,
        86_400_123_456_789,
        100_000 * S,
        100_000 * S + S // 2,
    ]


def test_what_is_finer_than_a_nanosecond_is_rounded_half_to_even(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n0\n0.0000000005\n0.0000000015\n"))
    assert trace.recorded_ns.tolist() == [0, 0, 2]


def test_seconds_since_1970_start_at_the_first_request_and_stay_exact(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n1700158623.979960001\n1700158624.03196\n"))
    assert replayed(trace).tolist() == [0, 51_999_999]


def test_a_long_recording_is_exact_where_floats_are_not(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n0\n31536000.000000001\n"))
    assert replayed(trace).tolist() == [0, 31_536_000 * S + 1]


@pytest.mark.parametrize(
    ("text", "later_ns"),
    [
        ("2023-11-16 18:15:46.6805901", 100),
        ("2023-11-16T18:15:50.9951690Z", 4_314_579_000),
        ("2023-11-16 19:15:46,680590001 +01:00", 1),
        ("2023-11-16 13:15:47-0500", 319_410_000),
        ("2024-03-01 00:00:00 UTC", 9_092_653_319_410_000),
    ],
)
def test_dates_become_nanoseconds_exactly(tmp_path, text, later_ns):
    first = "2023-11-16 18:15:46.6805900"
    trace = read_trace(written(tmp_path, f'at\n{first}\n"{text}"\n'), {"arrival_s": "at"})
    assert trace.recorded_ns.tolist() == [0, later_ns]


def test_lengths_and_tiers_come_with_the_rows(tmp_path):
    content = "length,arrival_s,tier,note\n12,0,batch,a\n90,0.5,interactive,b\n7,0.5,1,c\n"
    trace = read_trace(written(tmp_path, content), tiers=("interactive", "batch"))
    assert trace.length.tolist() == [12, 90, 7]
    assert trace.length.dtype == np.int32
    assert trace.tier.tolist() == [1, 0, 1]
    assert trace.tier.dtype == np.int8


def test_a_tier_column_is_left_alone_where_the_workload_has_no_tiers(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s,tier\n0,gold\n1,silver\n"))
    assert trace.tier is None


def test_columns_may_have_other_names(tmp_path):
    file = written(tmp_path, "t,tokens\n0.5,12\n1.5,90\n")
    trace = read_trace(file, {"arrival_s": "t", "length": "tokens"})
    assert trace.recorded_ns.tolist() == [0, S]
    assert trace.length.tolist() == [12, 90]
    assert trace.tier is None


def test_a_gzip_file_reads_as_the_plain_one(tmp_path):
    plain = written(tmp_path, "arrival_s,length\r\n0,3\r\n0.25,4\r\n")
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert np.array_equal(read_trace(packed).recorded_ns, read_trace(plain).recorded_ns)
    assert np.array_equal(read_trace(packed).length, read_trace(plain).length)


def test_a_trace_longer_than_one_block_is_read_whole(tmp_path):
    rows = 2 * ROWS + 17
    lines = "".join(f"{place / 4:.2f},{place % 500 + 1}\n" for place in range(rows))
    trace = read_trace(written(tmp_path, "arrival_s,length\n" + lines))
    assert np.array_equal(trace.recorded_ns, np.arange(rows) * (S // 4))
    assert np.array_equal(trace.length, np.arange(rows) % 500 + 1)
    assert np.array_equal(replayed(trace), trace.recorded_ns)
    assert np.array_equal(replayed(trace, ROWS + 1), trace.recorded_ns[: ROWS + 1])


def test_a_blank_line_is_no_request_and_a_byte_order_mark_no_letter(tmp_path):
    trace = read_trace(written(tmp_path, "\ufeffarrival_s\n0\n1\n\n"))
    assert trace.recorded_ns.tolist() == [0, S]


def test_a_trace_can_be_replayed_at_another_rate(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n0\n1\n1\n4\n"))
    assert trace.rate_per_s == 0.75
    fast = trace.at_rate(3.0)
    assert fast.rate_per_s == pytest.approx(3.0)
    assert fast.time_scale == 0.25
    assert replayed(fast).tolist() == [0, S // 4, S // 4, S]
    assert fast.gap_cv == trace.gap_cv
    assert fast.at_rate(0.75).time_scale == 1.0


def test_a_replay_ends_with_its_trace_or_before(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n0\n1\n2\n3\n"))
    assert replayed(trace).tolist() == [0, S, 2 * S, 3 * S]
    assert replayed(trace, duration_ns=2 * S).tolist() == [0, S, 2 * S]
    assert replayed(trace, requests=2).tolist() == [0, S]
    assert replayed(trace, requests=9).tolist() == [0, S, 2 * S, 3 * S]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is empty; give a header line and one line a request"),
        ("arrival_s\n", " holds a header but no request; give one line a request"),
        ("arival_s\n0\n", " has no column 'arrival_s' for arrival_s; did you mean 'arival_s'?"),
        ("x,y\n0,1\n", " has no column 'arrival_s' for arrival_s; known are x, y"),
        (
            "arrival_s\n0\n-1\n",
            f", line 3: arrival_s = '-1' must be {INSTANT}",
        ),
        (
            "arrival_s\n0\nnan\n",
            f", line 3: arrival_s = 'nan' must be {INSTANT}",
        ),
        (
            "arrival_s\n0\ninf\n",
            f", line 3: arrival_s = 'inf' must be {INSTANT}",
        ),
        (
            "arrival_s,length\n0,1\n,2\n",
            f", line 3: arrival_s = '' must be {INSTANT}",
        ),
        (
            "arrival_s\n12:30\n",
            f", line 2: arrival_s = '12:30' must be {INSTANT}",
        ),
        (
            "arrival_s\n2023-02-29 10:00:00\n",
            f", line 2: arrival_s = '2023-02-29 10:00:00' must be {INSTANT}",
        ),
        (
            "arrival_s\n1969-12-31 23:59:59\n",
            f", line 2: arrival_s = '1969-12-31 23:59:59' must be {INSTANT}",
        ),
        (
            "arrival_s\n1e10\n",
            ", line 2: arrival_s = '1e10' must be at most 146 years of seconds",
        ),
        (
            "arrival_s\n0\n2\n1.5\n",
            ", line 4: arrival_s = 1.5 is earlier than the line before; sort the file by arrival_s",
        ),
        (
            "arrival_s,length\n0,12.5\n",
            ", line 2: length = '12.5' must be a whole number of at least 1",
        ),
        ("arrival_s,length\n0,0\n", ", line 2: length = '0' must be a whole number of at least 1"),
        ("arrival_s,length\n0,\n", ", line 2: length = '' must be a whole number of at least 1"),
        (
            "arrival_s,length\n0,3000000000\n",
            ", line 2: length = '3000000000' must be at most 2147483647",
        ),
        (
            "arrival_s,length\n0,99999999999999\n",
            ", line 2: length = '99999999999999' must be at most 2147483647",
        ),
        ("arrival_s,length\n0,1\n1\n", ", line 3: 1 values, but length is column 2"),
        (
            "arrival_s,tier\n0,interactiv\n",
            (
                ", line 2: tier = 'interactiv' must be a tier of the workload; did you mean"
                " 'interactive'?"
            ),
        ),
        (
            "arrival_s,tier\n0,2\n",
            ", line 2: tier = '2' must be a tier of the workload; known are interactive, batch",
        ),
    ],
)
def test_a_broken_trace_is_refused_with_file_line_and_value(tmp_path, content, message):
    file = written(tmp_path, content)
    with pytest.raises(WorkloadError) as error:
        read_trace(file, tiers=("interactive", "batch"))
    assert str(error.value) == f"{file}{message}"


def test_a_mistake_after_the_first_block_has_its_line(tmp_path):
    lines = "".join(f"{place}\n" for place in range(ROWS))
    file = written(tmp_path, "arrival_s\n" + lines + "5\n")
    with pytest.raises(WorkloadError, match=rf"line {ROWS + 2}: arrival_s = 5 is earlier"):
        read_trace(file)


def test_a_named_column_that_is_missing_names_the_nearest(tmp_path):
    file = written(tmp_path, "arrival_s,context_tokens\n0,5\n")
    with pytest.raises(WorkloadError) as error:
        read_trace(file, {"length": "contxt_tokens"})
    assert str(error.value) == (
        f"{file} has no column 'contxt_tokens' for length; did you mean 'context_tokens'?"
    )


def test_an_unknown_key_of_columns_names_the_nearest(tmp_path):
    file = written(tmp_path, "arrival_s\n0\n")
    with pytest.raises(WorkloadError, match=r"columns\.lenght is not known; did you mean 'length'"):
        read_trace(file, {"lenght": "arrival_s"})


def test_a_file_that_is_no_trace_is_refused(tmp_path):
    with pytest.raises(WorkloadError, match=r"none\.csv cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(WorkloadError, match="cannot be read: Not a gzipped file"):
        read_trace(written(tmp_path, "arrival_s\n0\n", "plain.csv.gz"))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"arrival_s\n" + b"0\n" * 9999)[:-12])
    with pytest.raises(WorkloadError, match=r"cut\.csv\.gz cannot be read: "):
        read_trace(cut)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(WorkloadError, match=r"binary\.csv is not text in UTF-8"):
        read_trace(binary)


def test_one_instant_has_no_rate(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n3\n3\n"))
    with pytest.raises(WorkloadError, match="all come at one instant, so it has no rate"):
        trace.at_rate(5.0)


def test_time_cannot_be_scaled_by_zero(tmp_path):
    trace = read_trace(written(tmp_path, "arrival_s\n0\n3\n"))
    with pytest.raises(WorkloadError, match="`rate_per_s > 0` must hold"):
        trace.at_rate(0.0)
    with pytest.raises(WorkloadError, match=r"`time_scale > 0` must hold, but got time_scale = 0"):
        replace(trace, time_scale=0.0)
