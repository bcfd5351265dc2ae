"""Readers of profiles, of tables that become one, and of what lies beside one."""

from __future__ import annotations

import gzip
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from fuzz_inputs import Files
from fuzz_scenarios import GREEDY

import profiles
from experiments.cli_speech import input_errors
from experiments.config import load_scenario
from profiles.codec import SAMPLE_COLUMNS


@cache
def small_profile() -> Files:
    """A corner of a measured profile with few raw calls."""
    import tempfile

    whole = profiles.load("bert-tiny-cpu-fp32")
    samples = whole.samples
    assert samples is not None
    shape = samples.batch_size * 10**6 + samples.length
    _, first = np.unique(shape, return_index=True)
    rows = np.sort(np.concatenate([first, first + 1, first + 2]))
    size, length = whole.batch_size[3], whole.length[1]
    rows = rows[(samples.batch_size[rows] <= size) & (samples.length[rows] <= length)]
    kept = type(samples)(*(getattr(samples, name)[rows] for name in SAMPLE_COLUMNS))
    whole = replace(
        whole, name="p", samples=kept, batch_size=whole.batch_size[:4], length=whole.length[:2],
        latency_ns=whole.latency_ns[:4, :2],
        percentiles_ns={key: times[:4, :2] for key, times in whole.percentiles_ns.items()},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        profiles.save(whole, place)
        return {path.name: path.read_bytes() for path in sorted(Path(place).iterdir())}


def profile_seeds() -> list[Files]:
    published = Path(profiles.__file__).with_name("published")
    names = ("jasper-t4-fp16", "bert-base-a100-tensorrt-fp16", "bert-large-t4-triton-tensorrt-fp16")
    return [
        small_profile(),
        *(
            {
                f"p.{suffix}": (published / f"{name}.{suffix}").read_bytes()
                for suffix in ("csv", "json")
            }
            for name in names
        ),
    ]


WITH_PROFILE = f"""
[workload]
requests = 100
arrivals = {{ process = "poisson", load = 0.5 }}
lengths = {{ constant = 20 }}
[service]
profile = "p"
over_length = "truncate"
{GREEDY}
"""


def read_profile(folder: Path) -> None:
    from experiments.cli_profile import details

    details(profiles.load("p.json"))
    (folder / "s.toml").write_text(WITH_PROFILE)
    load_scenario("s.toml").draw()


TABLE = """model,task,device,precision,framework,batch_size,length_tokens,audio_seconds,\
latency_ms_mean,latency_ms_p50,latency_ms_p95,latency_ms_p99,source_repo,source_path,note
bert,encode,A100,fp16,tensorrt,1,128,,2.0,1.9,2.5,3.0,https://a/b,c.md,warm; gpu time
bert,encode,A100,fp16,tensorrt,8,128,,4.0,3.9,4.5,5.0,https://a/b,c.md,warm
bert,encode,A100,fp16,tensorrt,1,384,,3.0,2.9,3.5,4.0,https://a/b,c.md,warm
bert,encode,A100,fp16,tensorrt,8,384,,9.0,8.9,9.5,11.0,https://a/b,c.md,warm
"""

AUDIO = """model,batch_size,audio_seconds,latency_ms_mean
jasper,1,2.5,10.5
jasper,4,2.5,20.25
jasper,1,7,18
"""


def table_seeds() -> list[Files]:
    return [{"t.csv": TABLE.encode()}, {"t.csv": AUDIO.encode()}]


def read_profile_table(folder: Path) -> None:
    from experiments.cli_profile import details

    profile = profiles.read_table("t.csv", {"batch_size": "1|4|8"}, complete=True)
    details(profile)
    profiles.load(profiles.save(profile, folder / "back"))
    profiles.read_table("t.csv", {"model": "bert"}, name="p")


def calls_text(count: int = 40) -> bytes:
    rng = np.random.default_rng(1)
    lines = ["batch_size,length,round,kind,gap_ns,wall_ns,device_ns,instant_ns"]
    kinds = ("warmup", "grid", "holdout", *["steady"] * 6, "paced")
    for k in range(count * len(kinds)):
        kind = kinds[k % len(kinds)]
        size, length = (4, 48) if kind == "holdout" else ((1, 4, 16)[k % 3], (16, 64)[k % 2])
        wall = int(1e6 * size * length / 64 * rng.uniform(0.9, 1.2))
        gap = 10**6 if kind == "paced" else 0
        lines.append(
            f"{size},{length},0,{kind},{gap},{wall},{wall - 100 if k % 2 else ''},{k * 10**7}"
        )
    return ("\n".join(lines) + "\n").encode()


PEAKS = b"""batch_size,length,peak_bytes
1,16,1000000
4,16,1200000
1,64,1100000
4,64,1900000
16,64,
"""


def beside_seeds() -> list[Files]:
    """What lies beside a profile: raw calls, and the memory that batches took."""
    grid = {name: content for name, content in small_profile().items() if "samples" not in name}
    return [
        grid | {"p-raw.csv.gz": gzip.compress(calls_text(), mtime=0), "p-memory.csv": PEAKS},
        grid | {"p-memory.csv": PEAKS},
        grid | {"p-raw.csv.gz": gzip.compress(calls_text(12), mtime=0)},
    ]


BESIDE = WITH_PROFILE.replace(
    'profile = "p"', 'profile = "p"\nnoise = { kind = "blocks" }\nmemory = { limit_gib = 2.0 }'
)


def read_beside(folder: Path) -> None:
    from experiments.memory_words import memory_facts
    from profiles.check import checked
    from profiles.remedy import remedy_of

    with suppress(*input_errors()):
        remedy_of(checked("p.json", bound=0.05, form=None))
    memory_facts("p")
    (folder / "s.toml").write_text(BESIDE)
    load_scenario("s.toml").draw()
