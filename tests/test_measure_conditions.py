"""What is read of the machine while a model is measured, with a GPU that is not there."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from drawn_runner import DrawnRunner, VirtualClock

from profiles.campaign import Wishes, gpu_index, measured, save_campaign
from profiles.conditions import Conditions, Sensors


class RefusedError(Exception):
    """As the library raises it."""


def card(*, power=True, there=True):
    """The library's module, with one card."""
    module = SimpleNamespace(
        NVMLError=RefusedError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0, asked=[],
        open=0,
    )  # fmt: skip

    def handle(index):
        if not there:
            raise RefusedError
        module.asked.append(index)
        return f"card {index}"

    def watts(_card):
        if not power:
            raise RefusedError
        return 123_456

    def change(by):
        module.open += by

    module.nvmlInit = lambda: change(1)
    module.nvmlShutdown = lambda: change(-1)
    module.nvmlDeviceGetHandleByIndex = handle
    module.nvmlDeviceGetClockInfo = lambda _card, kind: {1: 1_980, 2: 2_619}[kind]
    module.nvmlDeviceGetPowerUsage = watts
    module.nvmlDeviceGetTemperature = lambda _card, _kind: 41
    module.nvmlDeviceGetUtilizationRates = lambda _card: SimpleNamespace(gpu=97, memory=30)
    return module


def test_a_gpu_is_asked_for_clocks_power_temperature_and_utilisation(monkeypatch):
    module = card()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    sensors = Sensors(1)
    seen = sensors.read(3, 77)
    assert seen[3:] == (1_980, 2_619, 123.456, 41, 97)
    assert seen[:2] == (3, 77)
    assert module.asked == [1]
    sensors.close()
    assert module.open == 0


def test_what_a_card_does_not_say_is_empty(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", card(power=False))
    seen = Sensors(0).read(0, 0)
    assert seen.power_w is None
    assert seen.sm_clock_mhz == 1_980


@pytest.mark.parametrize("module", [None, card(there=False)])
def test_without_library_or_card_only_the_load_is_known(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr("profiles.conditions.load_average", lambda: 1.5)
    sensors = Sensors(0)
    assert sensors.read(0, 9) == Conditions(0, 9, 1.5)
    sensors.close()
    assert module is None or module.open == 0


def test_on_a_cpu_no_card_is_asked(monkeypatch):
    module = card()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    Sensors().read(0, 0)
    assert module.asked == []


def test_a_measurement_on_a_gpu_keeps_the_sensors_of_each_round(monkeypatch, tmp_path):
    module = card()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    runner = DrawnRunner(VirtualClock())
    about = {**runner.about(), "device": "cuda:0", "device_name": "NVIDIA H100"}
    runner.about = lambda: about
    made = measured(runner, Wishes(2, (16, 32), 20 * 10**9), clock=runner.clock)
    assert made.profile.name == "drawn-nvidia-h100-fp32"
    assert made.found.plan.warming.calls == 3
    rounds = save_campaign(made, tmp_path)[2].read_text().splitlines()
    assert len(rounds) == made.found.plan.rounds + 1
    assert rounds[1].endswith("1980,2619,123.456,41,97")
    assert module.open == 0


def test_a_device_names_its_gpu():
    assert [gpu_index(device) for device in ("cpu", "cuda", "cuda:3")] == [None, 0, 3]
