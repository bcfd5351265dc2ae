import dataclasses
import gzip
import json

import numpy as np
import pytest

import profiles
from profiles import Metadata, Profile, ProfileError, Samples, fingerprint, from_samples, load, save

METADATA = Metadata(
    model="BERT-tiny",
    device="a GPU",
    precision="FP16",
    framework="PyTorch",
    timed="wall clock",
    licence="CC0-1.0",
    versions={"driver": "550.54"},
    defects=("one", "zwei, mit Komma und ü"),
)
GRID = "batch_size,length,latency_ms,p99_ms\n1,16,1.5,2\n1,32,2,3\n4,16,3,4\n4,32,5,6\n"
SIDE = {
    "format": 1,
    "length_unit": "tokens",
    "statistic": "mean",
    "model": "m",
    "device": "d",
    "precision": "FP16",
    "framework": "f",
    "timed": "a call",
    "licence": "CC0-1.0",
}


def measured():
    rng = np.random.default_rng(7)
    size = np.repeat([1, 4], 40)
    latency = rng.integers(900_001, 7_654_321, 80)
    samples = Samples(size, np.tile([16, 32], 40), np.cumsum(latency), latency)
    return from_samples("measured", samples, "tokens", METADATA)


def write(folder, grid=GRID, side=SIDE, samples=None):
    (folder / "mine.csv").write_text(grid)
    (folder / "mine.json").write_text(side if isinstance(side, str) else json.dumps(side))
    if samples is not None:
        (folder / "mine.samples.csv.gz").write_bytes(samples)
    return folder / "mine.json"


def refusal(path):
    with pytest.raises(ProfileError) as error:
        load(path)
    return str(error.value)


def assert_same(left, right):
    assert fingerprint(left) == fingerprint(right)
    assert left.metadata == right.metadata
    assert (left.length_unit, left.statistic) == (right.length_unit, right.statistic)
    for column in ("batch_size", "length", "latency_ns"):
        values = getattr(right, column)
        assert values.dtype == np.int64
        np.testing.assert_array_equal(getattr(left, column), values)
    assert left.percentiles_ns.keys() == right.percentiles_ns.keys()
    for key, values in left.percentiles_ns.items():
        np.testing.assert_array_equal(values, right.percentiles_ns[key])


@pytest.mark.parametrize("name", ["jasper-t4-fp16", "bert-base-rtx3090-kernl-fp16"])
def test_a_profile_comes_back_exactly(tmp_path, name):
    shipped = load(name)
    assert_same(shipped, load(save(shipped, tmp_path / "new" / "folder")))


def test_raw_samples_come_back_exactly_and_in_order(tmp_path):
    before = measured()
    after = load(save(before, tmp_path))
    assert_same(before, after)
    assert after.samples is not None
    for column in ("batch_size", "length", "start_ns", "latency_ns"):
        np.testing.assert_array_equal(
            getattr(before.samples, column), getattr(after.samples, column)
        )


def test_saving_again_writes_the_same_bytes(tmp_path):
    files = ("measured.csv", "measured.json", "measured.samples.csv.gz")
    save(measured(), tmp_path / "a")
    save(load(tmp_path / "a" / "measured.csv"), tmp_path / "b")
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    time_stamp = (tmp_path / "a" / "measured.samples.csv.gz").read_bytes()[4:8]
    assert time_stamp == bytes(4)


def test_saving_without_samples_removes_old_samples(tmp_path):
    save(measured(), tmp_path)
    save(dataclasses.replace(measured(), samples=None), tmp_path)
    assert load(tmp_path / "measured.json").samples is None


@pytest.mark.parametrize("end", ["", ".json", ".csv", ".samples.csv.gz"])
def test_any_of_its_files_names_a_profile(tmp_path, end):
    save(measured(), tmp_path)
    assert load(tmp_path / f"measured{end}").name == "measured"


def test_rows_of_the_grid_may_stand_in_any_order(tmp_path):
    head, *rows = GRID.splitlines()
    here = load(write(tmp_path))
    there = load(write(tmp_path, "\n".join([head, *reversed(rows)]) + "\n\n"))
    assert_same(here, there)
    np.testing.assert_array_equal(here.latency_ns, [[1_500_000, 2_000_000], [3_000_000, 5_000_000]])


def test_the_fingerprint_knows_the_content_and_not_the_name():
    one = load("jasper-t4-fp16")
    assert fingerprint(dataclasses.replace(one, name="other")) == fingerprint(one)
    slower = dataclasses.replace(one, latency_ns=one.latency_ns + 1, percentiles_ns={})
    faster = dataclasses.replace(one, percentiles_ns={})
    cited = dataclasses.replace(one, metadata=dataclasses.replace(one.metadata, licence="MIT"))
    full = measured()
    bare = dataclasses.replace(full, samples=None)
    marks = [fingerprint(each) for each in (one, slower, faster, cited, full, bare)]
    assert len(set(marks)) == 6
    assert all(len(mark) == 64 for mark in marks)


def test_an_unknown_name_lists_the_nearest():
    assert refusal("bert-base-a100-tensorrt-fp8") == (
        "'bert-base-a100-tensorrt-fp8' is neither a shipped profile nor a profile's file; "
        "nearest: bert-base-a100-tensorrt-fp16, bert-base-v100-tensorrt-fp16, "
        "bert-base-a100-tensorrt-int8"
    )
    assert refusal("zzz") == (
        "'zzz' is neither a shipped profile nor a profile's file; "
        "`batchwright profile list` names those"
    )


def test_a_profile_without_its_side_file_is_refused(tmp_path):
    side = write(tmp_path)
    side.unlink()
    assert refusal(tmp_path / "mine.csv") == (
        f"{tmp_path}/mine.csv: a profile is two files, but mine.json is missing"
    )


def without(key):
    return {name: value for name, value in SIDE.items() if name != key}


SIDES = [
    ("{", "the file must be JSON, but: Expecting property name enclosed in double quotes: line 1 "),
    ("[1]", "the file must hold one JSON object, but got [1]"),
    (without("format"), "`format` is missing"),
    (SIDE | {"format": 2}, "`format` must be 1, but got 2"),
    (without("statistic"), "`statistic` is missing"),
    (without("licence"), "`licence` is missing"),
    (
        SIDE | {"licens": "x"},
        "`licens` is not a key of a profile; the nearest is `licence`",
    ),
    (SIDE | {"device": 3}, "`device` must be a text, but got 3"),
    (SIDE | {"defects": "none"}, "`defects` must be a list of texts, but got 'none'"),
    (
        SIDE | {"versions": {"cuda": 12}},
        "`versions` must be a table of texts, but got {'cuda': 12}",
    ),
    (SIDE | {"model": ""}, "`model` must say what it was, but is empty"),
]


@pytest.mark.parametrize(("side", "problem"), SIDES)
def test_a_broken_side_file_is_refused_in_one_sentence(tmp_path, side, problem):
    message = refusal(write(tmp_path, side=side))
    assert message.startswith(f"{tmp_path}/mine.json: {problem}")
    assert "\n" not in message


GRIDS = [
    ("", "the column batch_size is missing"),
    ("batch_size,latency_ms\n1,2\n", "the column length is missing"),
    (
        GRID.replace("p99_ms", "p98_ms"),
        (
            "the columns may be batch_size, length, latency_ms, p50_ms, p90_ms, p95_ms, p99_ms, "
            "each once, but got 'p98_ms'"
        ),
    ),
    (GRID.splitlines()[0], "there must be at least one row of data, but there is none"),
    (
        GRID.replace("4,16,3,4\n", ""),
        (
            "every batch size must have every length, but 1 of 4 points are missing "
            "(batch size x length): 4 x 16"
        ),
    ),
    (
        GRID + "1,16,7,8\n",
        "batch size 1, length 16 must be there once, but is on lines 2 and 6",
    ),
    (
        GRID.replace("1.5", "nan"),
        "line 2: latency_ms must be a positive time in ms below 11 days, but got 'nan'",
    ),
    (
        GRID.replace("1.5", "-1.5"),
        "line 2: latency_ms must be a positive time in ms below 11 days, but got '-1.5'",
    ),
    (
        GRID.replace("1.5", "0"),
        "line 2: latency_ms must be a positive time in ms below 11 days, but got '0'",
    ),
    (
        GRID.replace("1.5", "1e999999"),
        "line 2: latency_ms must be a positive time in ms below 11 days, but got '1e999999'",
    ),
    (
        GRID.replace("1.5", "fast"),
        "line 2: latency_ms must be a positive time in ms below 11 days, but got 'fast'",
    ),
    (
        GRID.replace("4,32,5", "4.5,32,5"),
        "line 5: batch_size must be a whole number from 1, but got '4.5'",
    ),
    (
        GRID.replace("1,32,2", "1,0,2"),
        "line 3: length must be a whole number from 1, but got '0'",
    ),
    (GRID.replace("1,32,2,3", "1,32,2"), "line 3: there must be 4 values, but got 3"),
]


@pytest.mark.parametrize(("grid", "problem"), GRIDS)
def test_a_broken_grid_is_refused_in_one_sentence(tmp_path, grid, problem):
    path = write(tmp_path, grid)
    separator = ", " if problem.startswith("line") else ": "
    assert refusal(path) == f"{tmp_path}/mine.csv{separator}{problem}"


def test_many_holes_are_counted_and_the_first_are_named(tmp_path):
    rows = "".join(f"{k},{k},1\n" for k in range(1, 5))
    assert refusal(write(tmp_path, f"batch_size,length,latency_ms\n{rows}")) == (
        f"{tmp_path}/mine.csv: every batch size must have every length, but 12 of 16 points are "
        "missing (batch size x length): 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 3 and 7 more"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"length_unit": "seconds"},
            "length_unit must be tokens or audio_ms, but got 'seconds'",
        ),
        (
            {"statistic": "median"},
            "statistic must be p50 or mean, but got 'median'",
        ),
    ],
)
def test_an_unknown_unit_or_statistic_names_the_profile_on_disk(tmp_path, change, problem):
    assert refusal(write(tmp_path, side=SIDE | change)) == f"{tmp_path}/mine: {problem}"


def test_a_percentile_below_the_median_is_refused(tmp_path):
    broken = write(tmp_path, GRID.replace("5,6", "5,4"), SIDE | {"statistic": "p50"})
    assert refusal(broken) == (
        f"{tmp_path}/mine: p99 at batch size 4, length 32 is 4 ms, but p50 is 5 ms "
        "and must not be above it"
    )


CALLS = b"batch_size,length,start_ns,latency_ns\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"plain", "the file must be gzip of UTF-8 text, but: Not a gzipped file (b'pl')"),
        (gzip.compress(b"a,b\n", mtime=0), "the column batch_size is missing"),
    ],
)
def test_broken_samples_are_refused_in_one_sentence(tmp_path, content, problem):
    assert refusal(write(tmp_path, samples=content)) == (
        f"{tmp_path}/mine.samples.csv.gz: {problem}"
    )


def test_a_negative_sample_names_its_line(tmp_path):
    path = write(tmp_path, samples=gzip.compress(CALLS + b"1,16,0,5\n1,16,5,-5\n"))
    assert refusal(path) == (
        f"{tmp_path}/mine.samples.csv.gz, line 3: latency_ns must be a whole number from 1, "
        "but got '-5'"
    )


def test_samples_off_the_grid_are_refused(tmp_path):
    rows = b"".join(b"%d,%d,0,5\n" % (b, n) for b in (1, 4) for n in (16, 32, 64))
    path = write(tmp_path, samples=gzip.compress(CALLS + rows))
    assert (
        refusal(path)
        == f"{tmp_path}/mine: batch size 1, length 64 has samples but is not on the grid"
    )


def test_a_binary_file_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "mine.csv").write_bytes(b"\xff\xfe\x00")
    assert refusal(tmp_path / "mine").startswith(
        f"{tmp_path}/mine.csv: the file must be readable UTF-8 text, but: 'utf-8' codec can't"
    )


def test_every_public_name_is_there():
    assert all(hasattr(profiles, name) for name in profiles.__all__)
    assert Profile.__module__ == "profiles.latency"


@pytest.mark.parametrize("file", ["mine.csv", "mine.json", "mine.samples.csv.gz"])
def test_random_damage_is_refused_in_one_sentence_or_harmless(tmp_path, file):
    rng = np.random.default_rng(8)
    rows = b"".join(b"%d,%d,0,5\n" % (b, n) for b in (1, 4) for n in (16, 32))
    write(tmp_path, samples=gzip.compress(CALLS + rows))
    sound = (tmp_path / file).read_bytes()
    refusals = []
    for _ in range(200):
        place, width = rng.integers(len(sound)), rng.integers(4)
        damage = [b"", b"nan", b"-", b'"', b"\n", b"\x00", b"\xff", b"9" * 30, b"1e400", b","]
        filler = damage[rng.integers(len(damage))]
        (tmp_path / file).write_bytes(sound[:place] + filler + sound[place + width :])
        try:
            profiles.table_ns(load(tmp_path / "mine"))
        except ProfileError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)
