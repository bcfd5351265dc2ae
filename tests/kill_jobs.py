"""Kills servers and Redis at random points while jobs are done, and says what became of each job.

``python tests/kill_jobs.py [JOBS] [KILLS] [SEED] [SERVERS]`` prints it as JSON.  When to kill is
drawn in jobs that have begun, not in seconds: it does not depend on how fast the machine is.  What
ran is written down by the workers themselves, before anything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import redis_server

FIRST, LONGEST = 10, 60_000
"""The length of a job says which one it is; those of a warming-up are outside."""
SCENARIO = f"""
name = "jobs"
[workload]
requests = 2000
arrivals = {{ process = "poisson", rate_per_s = 50.0 }}
lengths = {{ distribution = "uniform", min = 2, max = {LONGEST} }}
[service]
model = {{ base_ms = 4.0, per_request_ms = 0.1, per_length_ms = 0.0, max_batch_size = 16 }}
[policies.greedy]
kind = "greedy"
"""
MODULE = """
import os, time

def infer(lengths):
    file = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(map(str, lengths)) + "\\n").encode())
    os.close(file)
    time.sleep(0.004)
    return [0.0] * len(lengths)
"""
SINGLES, LINES = 20, 250
PATIENCE_S = 600


class Kill(NamedTuple):
    """Once so many jobs have begun."""

    begun: int
    victims: tuple[str, ...]
    later_s: float
    """A little later, so that it hits any phase."""


class Told(NamedTuple):
    """What became of everything."""

    states: Counter[str]
    wrong: list[int]
    """Jobs whose answer is that of another, or without one."""
    ran: Counter[int]
    """Runs of each job, as the workers wrote them down."""
    begun_again: int
    """Runs that began when all jobs were sent once more, after their end."""
    kills: Counter[str]
    seconds: float


def kills(jobs, count, seed):
    """Half of them servers, half of them Redis, at random points; some hit both at once."""
    random = np.random.default_rng(seed)
    both = count // 6
    rest = ["server"] * (count // 2 - both) + ["redis"] * (count - count // 2 - both)
    victims = [("server", "redis")] * both + [(name,) for name in rest]
    random.shuffle(victims)
    points = np.sort(random.integers(jobs // 50, jobs * 9 // 10, len(victims)))
    return [Kill(int(point), tuple(who), float(later)) for point, who, later in
            zip(points, victims, random.uniform(0.0, 0.05, len(victims)), strict=True)]  # fmt: skip


class Server:
    """A server in a folder, which can be killed and started again."""

    def __init__(self, folder, url, lease_s):
        self.folder, self.queue, self.lease_s = folder, url, lease_s
        self.process, self.url = None, ""

    def start(self):
        command = [
            sys.executable, "-c", "from experiments.cli import main; main()", "serve",
            "jobs.toml", "--callable", "mine:infer", "--port", "0", "--json", "--no-drift",
            "--queue", self.queue, "--jobs-lease", f"{self.lease_s}s",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, (self.folder / "serve.log").read_text()
        self.url = json.loads(line)["url"] + "/v2/models/jobs/jobs"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def ask(server, path="", body=None, **headers):
    """What a server answers; None where it is away, or its queue is."""
    request = urllib.request.Request(server.url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise AssertionError(error.read()) from None
    except OSError:
        return None


def told(servers, path="", body=None, **headers):
    """As :func:`ask`, of whichever server answers, until one does."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for server in servers:
            if server.url and (said := ask(server, path, body, **headers)) is not None:
                return said
        time.sleep(0.05)
    raise AssertionError("nobody answers")


def submit(servers, jobs):
    """All of them, each until a server has said that it has it."""
    names = []
    for job in range(min(SINGLES, jobs)):
        told(servers, body=inference_of(job), **{"Idempotency-Key": f"single-{job}"})
        names.append(f"single-{job}")
    for begin in range(SINGLES, jobs, LINES):
        some = range(begin, min(begin + LINES, jobs))
        body = b"\n".join(inference_of(job) for job in some)
        head = {"Idempotency-Key": f"lines-{begin}", "Content-Type": "application/x-ndjson"}
        told(servers, body=body, **head)
        names += [f"lines-{begin}-{place}" for place in range(len(some))]
    return names


def inference_of(job):
    """A body whose length says which job it is."""
    tensor = {"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}
    return json.dumps({"parameters": {"length": FIRST + job}, "inputs": [tensor]}).encode()


def begun(folder):
    """Every run of a job so far; the workers write before they do anything."""
    file = folder / "runs"
    words = file.read_text().split() if file.exists() else []
    return [int(word) - FIRST for word in words if FIRST <= int(word) < LONGEST]


def strike(kill, folder, redis, servers, random, sent):
    """Wait for its point, kill, and start again what was killed."""
    until = time.monotonic() + PATIENCE_S
    while len(set(begun(folder))) < kill.begun:
        assert not (sent.done() and sent.exception()), sent.exception()
        assert time.monotonic() < until, f"stuck at {len(set(begun(folder)))} of {kill}"
        time.sleep(0.005)
    time.sleep(kill.later_s)
    server = servers[int(random.integers(len(servers)))]
    for victim in kill.victims:
        (redis if victim == "redis" else server).kill()
    if "redis" in kill.victims:
        redis.start()
    if "server" in kill.victims:
        server.start()


def wait_for_all(servers, jobs):
    """Until no job is waiting or runs."""
    until = time.monotonic() + PATIENCE_S
    while True:
        counts = json.loads(told(servers))
        if not counts["waiting"] + counts["running"]:
            return
        assert time.monotonic() < until, f"of {jobs} jobs are left: {counts}"
        time.sleep(0.1)


def looked(servers, jobs):
    """State of each job, and whose answer is not its own."""
    states, wrong = {}, []
    batches = [(f"lines-{begin}", begin) for begin in range(SINGLES, jobs, LINES)]
    rows = {job: json.loads(told(servers, f"/single-{job}")) for job in range(min(SINGLES, jobs))}
    for name, begin in batches:
        for line in told(servers, f"?batch={name}&count={LINES}").splitlines():
            row = json.loads(line)
            rows[begin + int(row["id"].rpartition("-")[2])] = row
    for job in range(jobs):
        row = rows.get(job, {"state": "lost"})
        states[job] = row["state"]
        if row["state"] == "done" and row["answer"]["parameters"]["length"] != FIRST + job:
            wrong.append(job)
    return states, wrong


def tormented(jobs, count, seed, servers=1, lease_s=5):
    """Do jobs while servers and Redis are killed."""
    began = time.monotonic()
    plan, random = kills(jobs, count, seed), np.random.default_rng(seed + 1)
    with tempfile.TemporaryDirectory() as place, redis_server.running() as redis:
        folder = Path(place)
        (folder / "jobs.toml").write_text(SCENARIO)
        (folder / "mine.py").write_text(MODULE)
        own = [Server(folder, redis.url, lease_s) for _ in range(servers)]
        try:
            for server in own:
                server.start()
            with ThreadPoolExecutor(1) as sending:
                sent = sending.submit(submit, own, jobs)
                for kill in plan:
                    strike(kill, folder, redis, own, random, sent)
                names = sent.result()
            wait_for_all(own, jobs)
            states, wrong = looked(own, jobs)
            ran = begun(folder)
            assert submit(own, jobs) == names
            wait_for_all(own, jobs)
            again = len(begun(folder)) - len(ran)
        finally:
            for server in own:
                server.kill()
    struck = Counter(victim for kill in plan for victim in kill.victims)
    return Told(
        Counter(states.values()), wrong, Counter(ran), again, struck, time.monotonic() - began
    )


def main():
    """Say what became of everything."""
    given = [int(word) for word in sys.argv[1:]]
    jobs, count, seed, servers = (*given, *(10_000, 20, 1, 2)[len(given) :])
    found = tormented(jobs, count, seed, servers)
    runs = Counter(found.ran[job] for job in range(jobs))
    print(json.dumps({
        "jobs": jobs, "servers": servers, "kills": dict(found.kills),
        "states": dict(found.states), "wrong answers": len(found.wrong),
        "jobs by their runs": {str(n): runs[n] for n in sorted(runs)},
        "runs when all were sent again": found.begun_again, "seconds": round(found.seconds),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
