"""Arrival processes fitted to the published statistics of two public traces.

Both traces are one hour of a production LLM service: AzureLLMInferenceTrace, 2023 (Patel et al.,
Splitwise, ISCA 2024; Azure/AzurePublicDataset @ b469a113, CC-BY 4.0).  Solved exactly for what is
listed, with the closed forms of a Markov-modulated Poisson process (index of dispersion of counts,
phase-type gaps); tests check each by formula, and by simulation.
"""

from __future__ import annotations

from .modulated import Mmpp

AZURE_CONV_2023 = Mmpp(rates_per_s=(6.9953, 4.0649), switch_per_s=(0.012169, 0.012169))
"""Conversation: Poisson under a slowly drifting rate.

Fitted: rate 5.5301 per s, index of dispersion 1.385 at 1 s and 16.13 at 60 s, with two equally long
states (82 s on average).  Not fitted, model against trace: CV of gaps 1.073 against 1.094, index of
dispersion at 10 s 4.59 against 3.86.
"""

AZURE_CODE_2023 = Mmpp(
    rates_per_s=(7.8682, 36.1332, 0.0084), switch_per_s=(0.04477, 0.50117, 0.0138)
)
"""Code completion: busy for 22 s, a peak of 2 s, silent for 72 s.

Fitted: rate 2.5664 per s, CV of gaps 13.15, 73.4 % of seconds empty, index of dispersion 13.19 at
1 s, 71.6 at 10 s and 164 at 60 s.
"""
