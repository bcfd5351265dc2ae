"""Small models of transformers, made on the spot: configurations, folders, and what they give."""

from __future__ import annotations

import torch
import transformers

from profiles.models import open_runner

SMALL = {
    "vocab_size": 2000,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
SHORT = {"n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 64}
TEXTS = {
    "bert": (transformers.BertConfig(**SMALL), 64),
    "roberta": (transformers.RobertaConfig(**SMALL), 62),
    "distilbert": (
        transformers.DistilBertConfig(vocab_size=2000, max_position_embeddings=48, **SHORT),
        48,
    ),
    "mpnet": (transformers.MPNetConfig(**SMALL), 62),
    "modernbert": (
        transformers.ModernBertConfig(
            **SMALL, pad_token_id=1999, cls_token_id=1, sep_token_id=2, bos_token_id=1,
            eos_token_id=2, local_attention=8, global_attn_every_n_layers=2,
        ),
        64,
    ),
}  # fmt: skip
"""Configurations, and the longest text that each takes."""

WAVE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 16,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
WAVES = {
    "wav2vec2": transformers.Wav2Vec2Config(**WAVE),
    "hubert": transformers.HubertConfig(**WAVE),
    "wavlm": transformers.WavLMConfig(**WAVE),
}


def saved(folder, config, *, weights=True, spread=0.1):
    """A folder with a small model, its weights large enough for every term to show."""
    folder.mkdir(exist_ok=True)
    config.save_pretrained(folder)
    if weights:
        model = transformers.AutoModel.from_config(config).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=spread)
        model.save_pretrained(folder)
    return folder


def opened(folder, **wanted):
    return open_runner(f"hf:{folder}", **wanted)


def direct(folder, **inputs):
    """Last hidden states, as transformers alone gives them."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(**inputs).last_hidden_state
