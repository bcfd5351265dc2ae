"""Every reader of the project, as :mod:`fuzz_engine` tries it.

Each is read the way its command reads it, as far as the first simulation.
"""

from __future__ import annotations

import fuzz_logs as logs
import fuzz_profiles as made
import fuzz_runs as runs
import fuzz_scenarios as scenarios
import fuzz_stacks as stacks
from fuzz_engine import Reader

from experiments.cli_speech import input_errors

READERS = {
    reader.name: reader
    for reader in (
        Reader("scenario", scenarios.scenario_seeds, scenarios.read_scenario, input_errors),
        Reader("options", scenarios.option_seeds, scenarios.read_options, input_errors),
        Reader("profile", made.profile_seeds, made.read_profile, input_errors),
        Reader("profile table", made.table_seeds, made.read_profile_table, input_errors),
        Reader("beside a profile", made.beside_seeds, made.read_beside, input_errors),
        Reader("replayed requests", logs.replay_seeds, logs.read_replayed, input_errors),
        Reader("log for init", logs.init_log_seeds, logs.read_init_log, input_errors),
        Reader("log to diagnose", logs.diagnose_log_seeds, logs.read_diagnose_log, input_errors),
        Reader("saved trace", logs.saved_traces, logs.read_saved_trace, input_errors),
        Reader("live window", logs.live_seeds, logs.read_live, input_errors),
        stacks.of("stacks in pbtxt", "triton", "tensorflow-serving"),
        stacks.of("stacks in yaml", "ray", "kserve", "torchserve"),
        stacks.of("stacks in json", "mlserver", "litserve", "json"),
        Reader("run", runs.run_seeds, runs.read_run, input_errors),
        Reader("study", runs.study_seeds, runs.read_study, runs.study_refusals, watched=False),
    )
}
"""By name."""
