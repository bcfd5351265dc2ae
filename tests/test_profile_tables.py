import numpy as np
import pytest

from profiles import ProfileError, read_table
from profiles.grid import Point, complete_part

HEAD = (
    "model,task,device,precision,framework,batch_size,length_tokens,audio_seconds,"
    "latency_ms_mean,latency_ms_p50,latency_ms_p95,latency_ms_p99,"
    "source_repo,source_path,source_commit,note\n"
)


def row(size, tokens, mean, **cells):
    """One line of a table; percentiles are 10 and 20 % above the mean."""
    plain = {
        "model": "bert",
        "task": "encoder",
        "device": "GPU 1",
        "precision": "FP16",
        "framework": "TensorRT 9",
        "batch_size": size,
        "length_tokens": tokens,
        "audio_seconds": "",
        "latency_ms_mean": mean,
        "latency_ms_p50": "",
        "latency_ms_p95": 1.1 * float(mean),
        "latency_ms_p99": 1.2 * float(mean),
        "source_repo": "owner/repo",
        "source_path": "README.md",
        "source_commit": "0123456789",
        "note": "GPU time; no copies",
    }
    return ",".join(str(value) for value in (plain | cells).values()) + "\n"


FULL = row(1, 128, 1) + row(1, 384, 2) + row(8, 128, 3) + row(8, 384, 9)


@pytest.fixture
def table(tmp_path):
    def written(*rows, head=HEAD):
        path = tmp_path / "table.csv"
        path.write_text(head + "".join(rows))
        return path

    return written


def refusal(path, where=None, **options):
    with pytest.raises(ProfileError) as error:
        read_table(path, where or {}, **options)
    return str(error.value).replace(str(path), "table.csv")


def test_a_table_becomes_a_profile_with_its_source(table):
    profile = read_table(table(FULL), {"model": "bert"}, licence="MIT")
    assert profile.name == "bert-gpu-1-tensorrt-9-fp16"
    np.testing.assert_array_equal(profile.batch_size, [1, 8])
    np.testing.assert_array_equal(profile.length, [128, 384])
    np.testing.assert_array_equal(profile.latency_ns, np.array([[1, 2], [3, 9]]) * 10**6)
    assert profile.statistic == "mean"
    assert profile.length_unit == "tokens"
    assert sorted(profile.percentiles_ns) == [95, 99]
    assert profile.percentiles_ns[99][1, 1] == 10_800_000
    assert profile.metadata.source == "owner/repo README.md @ 01234567"
    assert profile.metadata.licence == "MIT"
    assert profile.metadata.timed == "GPU time; no copies"
    assert profile.metadata.execution == "engine"


def test_the_median_is_taken_where_every_row_has_one(table):
    medians = [row(size, 128, size, latency_ms_p50=0.9 * size) for size in (1, 2)]
    assert read_table(table(*medians), {}).statistic == "p50"
    assert read_table(table(*medians, row(4, 128, 4)), {}).statistic == "mean"


def test_a_percentile_that_some_rows_lack_is_left_out(table):
    gap = row(8, 384, 9, latency_ms_p99="")
    profile = read_table(table(FULL.replace(row(8, 384, 9), gap)), {})
    assert sorted(profile.percentiles_ns) == [95]


def test_audio_seconds_become_whole_ms(table):
    clips = [row(1, "", 5, audio_seconds="2.0"), row(1, "", 6, audio_seconds="16.7")]
    profile = read_table(table(*clips), {"audio_seconds": "2|16.70"})
    np.testing.assert_array_equal(profile.length, [2_000, 16_700])
    assert profile.length_unit == "audio_ms"


def test_filters_ignore_case_and_take_alternatives(table):
    others = row(1, 128, 7, device="GPU 2") + row(16, 128, 7, framework="PyTorch")
    where = {"device": "gpu 1", "batch_size": "1.0|8", "framework": "TENSORRT 9"}
    profile = read_table(table(FULL, others), where)
    np.testing.assert_array_equal(profile.batch_size, [1, 8])


def test_a_remark_of_some_rows_only_is_a_defect(table):
    remark = row(8, 384, 9, note="GPU time; no copies; suspect")
    profile = read_table(table(FULL.replace(row(8, 384, 9), remark)), {})
    assert profile.metadata.timed == "GPU time; no copies"
    assert profile.metadata.defects == ("suspect",)


def test_a_table_needs_no_more_than_sizes_lengths_and_times(table):
    profile = read_table(
        table("1,16,2\n4,16,3\n", head="batch_size,length_tokens,latency_ms_mean\n"), {}
    )
    assert profile.metadata.device == "not stated"
    assert profile.metadata.execution == "eager"
    assert profile.metadata.source == "table.csv"


HOLES = row(1, 64, 1) + row(1, 128, 1) + row(2, 64, 1) + row(2, 128, 1) + row(4, 64, 1)

BROKEN = [
    (
        FULL,
        {"device": "GPU 3"},
        "table.csv: no row has device = 'GPU 3'; there are 'GPU 1'",
    ),
    (
        FULL + row(1, 128, 4, device="GPU 2"),
        {},
        (
            "table.csv: a profile has one device, but the rows have 'GPU 1', 'GPU 2'; "
            "choose one with `where`"
        ),
    ),
    (
        FULL + row(1, 128, 4, model="gpt"),
        {"device": "GPU 1"},
        (
            "table.csv: a profile has one model, but the rows have 'bert', 'gpt'; "
            "choose one with `where`"
        ),
    ),
    (
        FULL + row(1, 128, 4, source_commit="9876"),
        {},
        (
            "table.csv: a profile has one source_commit, but the rows have '0123456789', '9876'; "
            "choose one with `where`"
        ),
    ),
    (
        FULL + row(8, 128, 4),
        {},
        "table.csv: batch size 8, length 128 must be there once, but is on lines 4 and 6",
    ),
    (
        HOLES,
        {},
        (
            "table.csv: every batch size must have every length, but 1 of 6 points are missing "
            "(batch size x length): 4 x 128"
        ),
    ),
    (
        row(1, "", 5, audio_seconds="2.0") + row(1, 128, 5),
        {},
        "table.csv: lengths must be all tokens or all audio, but the rows have both",
    ),
    (
        row(1, "", 5, audio_seconds="0.0005"),
        {},
        "table.csv, line 2: audio_seconds must be a whole number of ms, but got '0.0005'",
    ),
    (
        row("", 128, 5),
        {},
        "table.csv, line 2: batch_size must be a whole number from 1, but got ''",
    ),
    (
        row(1, 128, "nan"),
        {},
        (
            "table.csv, line 2: latency_ms_mean must be a positive time in ms below 11 days, "
            "but got 'nan'"
        ),
    ),
    (
        FULL + row(8, 512, 9, latency_ms_mean=""),
        {},
        (
            "table.csv, line 6: latency_ms_mean must be a positive time in ms below 11 days, "
            "but got ''"
        ),
    ),
    (
        row(1, 128, 5, latency_ms_p99=4),
        {},
        (
            "profile bert-gpu-1-tensorrt-9-fp16: p99 at batch size 1, length 128 is 4 ms, "
            "but p95 is 5.5 ms and must not be above it"
        ),
    ),
    (
        row(1, 128, 5, latency_ms_p95="", latency_ms_p99=4),
        {},
        (
            "profile bert-gpu-1-tensorrt-9-fp16: the mean at batch size 1, length 128 is 5 ms, "
            "above p99 (4 ms), so warm-up or stalls are in it: use p50"
        ),
    ),
    (
        row(1, 128, 5).replace("\n", ",more\n"),
        {},
        "table.csv, line 2: there must be 16 values, but got more",
    ),
    ("", {}, "table.csv: there must be at least one row of data, but there is none"),
]


@pytest.mark.parametrize(("rows", "where", "message"), BROKEN)
def test_a_broken_table_is_refused_in_one_sentence(table, rows, where, message):
    assert refusal(table(rows), where) == message


def test_a_filter_on_an_unknown_column_lists_the_columns(table):
    path = table("1,16,2\n", head="batch_size,length_tokens,latency_ms_mean\n")
    assert refusal(path, {"gpu": "A100"}) == (
        "table.csv: `where` names 'gpu', but the columns are "
        "batch_size, length_tokens, latency_ms_mean"
    )


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        ("length_tokens,latency_ms_mean", "batch_size"),
        ("batch_size,latency_ms_mean", "length_tokens or audio_seconds"),
        ("batch_size,length_tokens", "latency_ms_mean or latency_ms_p50"),
    ],
)
def test_a_table_without_a_needed_column_is_refused(table, head, missing):
    assert refusal(table(head=f"{head}\n")) == f"table.csv: the table must have a column {missing}"


def test_a_table_that_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "none.csv") == (
        "table.csv: the table must be readable CSV text, but: "
        "[Errno 2] No such file or directory: 'table.csv'"
    )


def test_the_complete_part_of_a_table_with_holes_is_taken_on_request(table):
    profile = read_table(table(HOLES), {}, complete=True)
    np.testing.assert_array_equal(profile.batch_size, [1, 2])
    np.testing.assert_array_equal(profile.length, [64, 128])


def points(text):
    """Points of a drawing: rows are batch sizes, columns are lengths, ``x`` is there."""
    return [
        Point(0, i, j, (1,))
        for i, line in enumerate(text.split(), start=1)
        for j, mark in enumerate(line, start=1)
        if mark == "x"
    ]


@pytest.mark.parametrize(
    ("drawing", "kept"),
    [
        ("xxx xxx", "xxx xxx"),
        ("xxxx xxxx xx.. xx..", "xxxx xxxx ...."),
        ("xx. xx. xxx x..", "xx. xx. xx."),
        ("x. .x", "x. .."),
    ],
)
def test_the_complete_part_is_the_largest(drawing, kept):
    assert complete_part(points(drawing)) == points(kept)


def test_the_complete_part_of_a_long_table_has_no_holes():
    wide = "x" * 20
    drawing = [wide] * 18 + ["x" + "." * 19, "." * 20 + "x"]
    assert complete_part(points(" ".join(drawing))) == points(" ".join([wide] * 18))
