"""A user's own transformers model: ``hf:PATH_OR_CONFIG``.

1. The architecture is that of ``config.json``; the weights are those of its folder (safetensors),
   or N(0, 0.02) from the seed where there are none.  No code of a folder is run.
2. Text encoders (ids and a mask) and speech encoders (the raw wave and a mask) are served, as
   :mod:`profiles.models.encoders` says; what generates or reads something else is refused.
3. In mode eager, transformers looks whether a mask hides anything, and takes a faster kernel if it
   does not.  A batch of real requests nearly always has padding: so must a batch that is timed.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from profiles.runner import ModelError

from .blueprint import Blueprint
from .catalogue import SPEECH
from .contracts import embedding, text_contract, tokenizer_of, wave_contract
from .encoders import SpeechEncoder, TextEncoder, receptive_samples, speech_feed, text_feed
from .hub import PROCESSOR, Place, find_place, read_json
from .reasons import reason
from .weights import draw

SERVED = (
    "what can be measured are text encoders (as BERT, RoBERTa, DistilBERT, ModernBERT), speech "
    "encoders of the raw wave (as wav2vec2, HuBERT, WavLM), and your own function with --callable"
)
RATE = 16_000
UNUSED = ("pooler.", "masked_spec_embed")
"""Weights that an encoder may have, and that serving does not run."""


def blueprint(wanted: str) -> Blueprint:
    """How the model of ``PATH_OR_CONFIG`` is served.

    Raises:
        ModelError: it is not here, or cannot be served.
    """
    _be_quiet()
    place = find_place(wanted)
    config = read_config(place.config)
    architecture = transformers.MODEL_MAPPING[type(config)]
    if isinstance(architecture, tuple):
        architecture = architecture[0]
    about = {
        "title": f"{architecture.__name__} of transformers",
        "weights": "random" if place.weights is None else place.weights.name,
        "transformers": str(transformers.__version__),
        "padding": "where all of a batch are of one length, the last is a little shorter",
    }
    speech = _is_speech(config, architecture)
    if not speech:
        _check_text(config, architecture, place.config)
    make = _speech if speech else _text
    return make(place, config, architecture, about)


def _be_quiet() -> None:
    """What goes wrong is raised; what transformers says of its own workings helps nobody here."""
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)


def read_config(path: Path) -> Any:
    """The configuration of a known architecture that encodes.

    Raises:
        ModelError: it is not JSON, of no known architecture, or has a value that is refused.
    """
    said = read_json(path)
    kind = said.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(
            f'{path} must name its architecture, as in "model_type": "bert", but has none'
        )
    if kind not in transformers.CONFIG_MAPPING:
        nearest = difflib.get_close_matches(
            kind, list(transformers.CONFIG_MAPPING), n=1, cutoff=0.0
        )
        raise ModelError(
            f"{path}: transformers {transformers.__version__} knows no model_type {kind!r}; the "
            f"nearest is {nearest[0]}"
        )
    if "quantization_config" in said:
        raise ModelError(f"{path}: quantised weights (quantization_config) cannot be served here")
    try:
        config = transformers.CONFIG_MAPPING[kind].from_dict(said)
    except Exception as error:
        raise ModelError(f"{path} is refused by transformers: {reason(error)}") from error
    if type(config) not in transformers.MODEL_MAPPING:
        raise ModelError(f"{path}: {kind} is no encoder; {SERVED}")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{path}: {kind} decodes its output step by step; {SERVED}")
    return config


def _is_speech(config: Any, architecture: Any) -> bool:
    return architecture.main_input_name == "input_values" and hasattr(config, "conv_stride")


def _check_text(config: Any, architecture: Any, path: Path) -> None:
    """Refuse what is no text encoder, by what it is."""
    kind = config.model_type
    reads = architecture.main_input_name
    if reads != "input_ids":
        raise ModelError(f"{path}: {kind} reads {reads}; {SERVED}")
    encodes = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    generates = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if getattr(config, "is_decoder", False) or (generates and not encodes):
        raise ModelError(f"{path}: {kind} generates its text step by step; {SERVED}")
    if not encodes or not hasattr(config, "vocab_size"):
        raise ModelError(f"{path}: {kind} is no text encoder; {SERVED}")
    if "attention_mask" not in inspect.signature(architecture.forward).parameters:
        raise ModelError(f"{path}: {kind} takes no attention_mask, so it cannot leave padding out")


def _text(place: Place, config: Any, architecture: Any, about: dict[str, str]) -> Blueprint:
    with torch.device("meta"):
        empty = _assembled(place, config, architecture)
    longest, words = _positions(empty, config, place.config), config.vocab_size
    padding = getattr(config, "pad_token_id", None) or 0
    return Blueprint(
        place.name,
        "tokens",
        1,
        longest,
        feed=lambda generator: text_feed(words, padding, longest, generator),
        build=lambda seed: TextEncoder(_built(place, config, architecture, seed)).eval(),
        about=about,
        contract=text_contract(
            words,
            longest,
            width=_width(config),
            segments=_segments(config, architecture),
            tokenizer=tokenizer_of(place.config.parent),
        ),
        room=1,
    )


def _speech(place: Place, config: Any, architecture: Any, about: dict[str, str]) -> Blueprint:
    if getattr(config, "add_adapter", False):
        raise ModelError(f"{place.config}: add_adapter must be false for an encoder to be served")
    rate = place.read(PROCESSOR).get("sampling_rate", RATE)
    if not isinstance(rate, int) or rate < 1000:
        raise ModelError(
            f"{place.config.with_name(PROCESSOR)}: `sampling_rate` must be in Hz, but is {rate!r}"
        )
    with torch.device("meta"):
        _assembled(place, config, architecture)
    convolutions: Sequence[tuple[int, int]] = tuple(
        zip(config.conv_kernel, config.conv_stride, strict=True)
    )
    return Blueprint(
        place.name,
        "audio_ms",
        -(-receptive_samples(convolutions) * 1000 // rate),
        SPEECH[2],
        feed=lambda generator: speech_feed(rate, generator),
        build=lambda seed: SpeechEncoder(
            _built(place, config, architecture, seed), convolutions
        ).eval(),
        about={**about, "sampling_rate": str(rate)},
        contract=wave_contract(
            architecture.main_input_name,
            rate,
            receptive_samples(convolutions),
            SPEECH[2],
            embedding(_width(config)),
        ),
        room=-(-_hop(convolutions) * 1000 // rate),
    )


def _width(config: Any) -> int:
    width = getattr(config, "hidden_size", None)
    return width if isinstance(width, int) else -1


def _segments(config: Any, architecture: Any) -> int:
    """Kinds of tokens that it tells apart."""
    if "token_type_ids" not in inspect.signature(architecture.forward).parameters:
        return 1
    return max(1, getattr(config, "type_vocab_size", 1) or 1)


def _hop(convolutions: Sequence[tuple[int, int]]) -> int:
    """Samples from one frame to the next."""
    hop = 1
    for _, stride in convolutions:
        hop *= stride
    return hop


def _positions(model: nn.Module, config: Any, path: Path) -> int:
    """The longest text: at most the rows of the table of positions, less those before a word.

    RoBERTa and its kin count positions from behind the id of padding.
    """
    longest = getattr(config, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest < 1:
        raise ModelError(
            f"{path} must say how long a text may be, as `max_position_embeddings`, but says "
            f"{longest!r}"
        )
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            longest = min(longest, module.num_embeddings - before)
    return longest


def _assembled(place: Place, config: Any, architecture: Any) -> nn.Module:
    """The architecture with transformers' own initialisation."""
    try:
        model: nn.Module = architecture(config, **_without_pooler(architecture))
    except Exception as error:
        raise ModelError(f"{place.config} cannot be built: {reason(error)}") from error
    return model


def _without_pooler(architecture: Any) -> dict[str, bool]:
    able = "add_pooling_layer" in inspect.signature(architecture.__init__).parameters
    return {"add_pooling_layer": False} if able else {}


def _built(place: Place, config: Any, architecture: Any, seed: int) -> nn.Module:
    """The encoder in float32 on the host.

    Raises:
        ModelError: its weights cannot be read, or are those of another model.
    """
    if place.weights is None:
        model = _assembled(place, config, architecture)
        draw(model, seed)
        return model.requires_grad_(False)
    try:
        model, found = architecture.from_pretrained(
            place.config.parent,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # found below, and said in one sentence
            **_without_pooler(architecture),
        )
    except Exception as error:
        raise ModelError(f"{place.weights} cannot be loaded: {reason(error)}") from error
    missing = sorted(key for key in found["missing_keys"] if not key.startswith(UNUSED))
    if missing:
        raise ModelError(
            f"{place.weights} lacks {len(missing)} of the weights of {architecture.__name__}, the "
            f"first of them {missing[0]}"
        )
    if found["mismatched_keys"]:
        key, has, wants = min(found["mismatched_keys"])
        raise ModelError(
            f"{place.weights} has other sizes than {place.config.name} says: {key} is "
            f"{list(has)}, not {list(wants)}"
        )
    return model.requires_grad_(False)
