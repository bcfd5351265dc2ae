"""Decoders that run iterations: equal to transformers, in whatever pieces a text is computed."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from profiles.models.decoder import Rows, built  # noqa: E402
from profiles.models.decoder_runner import DecoderRunner  # noqa: E402
from profiles.models.decoder_shapes import DECODERS, DecoderShape  # noqa: E402
from profiles.runner import ModelError  # noqa: E402
from profiles.steps_runner import Piece  # noqa: E402

TEXT = DecoderShape("small", 3, 32, 4, 64, 0, vocabulary=97, positions=40)
SPEECH = DecoderShape("small", 2, 32, 4, 64, 0, vocabulary=97, positions=40, frames=24)
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def louder(model, spread=0.15):
    """Weights, biases too, that are large enough for every term to show."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=spread)
    return model


def drawn(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(count, seed=3):
    return torch.randint(0, 97, (count,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", DECODERS)
def test_the_list_says_how_many_parameters_there_are(name):
    from profiles.models.decoder import Decoder

    with torch.device("meta"):
        model = Decoder(DECODERS[name])
    assert sum(weight.numel() for weight in model.parameters()) == DECODERS[name].parameters


def gpt2():
    """Ours and theirs with the same weights."""
    transformers = pytest.importorskip("transformers", reason="compared where it is installed")
    ours = louder(built(TEXT, 0))
    config = transformers.GPT2Config(
        vocab_size=97, n_positions=40, n_embd=32, n_layer=3, n_head=4, n_inner=64,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    state = ours.state_dict()
    into = {"transformer.wte.weight": state["word.weight"], "lm_head.weight": state["word.weight"]}
    into["transformer.wpe.weight"] = state["position.weight"]
    names = {
        "norm_past": "ln_1", "query_key_value": "attn.c_attn", "out": "attn.c_proj",
        "norm_inner": "ln_2", "up": "mlp.c_fc", "down": "mlp.c_proj",
    }  # fmt: skip
    for kind in ("weight", "bias"):
        into[f"transformer.ln_f.{kind}"] = state[f"norm.{kind}"]
        for layer in range(3):
            for mine, their in names.items():
                value = state[f"layers.{layer}.{mine}.{kind}"]
                linear = kind == "weight" and not mine.startswith("norm")
                into[f"transformer.h.{layer}.{their}.{kind}"] = value.T if linear else value
    lacks = theirs.load_state_dict(into, strict=False)
    assert not lacks.unexpected_keys
    assert all("attn.bias" in key or "masked_bias" in key for key in lacks.missing_keys)
    return ours, theirs


def test_a_mixed_iteration_of_gpt2_equals_transformers_sequence_by_sequence():
    ours, theirs = gpt2()
    texts = [ids(9, 1), ids(17, 2), ids(5, 3), ids(12, 4)]
    slots = ours.slots(4, 40)
    with torch.inference_mode():
        ours(torch.cat([texts[0][:8], texts[1][:6]]), [Rows(2, 0, 8, 0), Rows(0, 8, 6, 0)], slots)
        # A step, a chunk in the middle of a prompt, and two whole prompts in one pass.
        found = ours(
            torch.cat([texts[0][8:], texts[1][6:], texts[2], texts[3]]),
            [Rows(2, 0, 1, 8), Rows(0, 1, 11, 6), Rows(3, 12, 5, 0), Rows(1, 17, 12, 0)],
            slots,
        )
        for row, text in zip(found, texts, strict=True):
            wanted = theirs(text[None]).logits[0, -1]
            assert torch.allclose(row, wanted, **CLOSE)
    assert len({int(row.argmax()) for row in found}) > 1, "equal answers would prove little"


def whisper():
    """Ours and theirs with the same weights."""
    transformers = pytest.importorskip("transformers", reason="compared where it is installed")
    from transformers.models.whisper.modeling_whisper import WhisperDecoder

    ours = louder(built(SPEECH, 0))
    config = transformers.WhisperConfig(
        vocab_size=97, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=64,
        max_target_positions=40, pad_token_id=0, bos_token_id=0, eos_token_id=0,
        decoder_start_token_id=0, begin_suppress_tokens=None,
    )  # fmt: skip
    theirs = WhisperDecoder(config).eval()
    state = ours.state_dict()
    for layer in range(2):
        state[f"layers.{layer}.query_key_value.bias"][32:64] = 0.0  # theirs have none
    into = {"embed_tokens.weight": state["word.weight"]}
    into["embed_positions.weight"] = state["position.weight"]
    names = {
        "norm_past": "self_attn_layer_norm", "out": "self_attn.out_proj",
        "norm_audio": "encoder_attn_layer_norm", "audio_query": "encoder_attn.q_proj",
        "audio_value": "encoder_attn.v_proj", "audio_out": "encoder_attn.out_proj",
        "norm_inner": "final_layer_norm", "up": "fc1", "down": "fc2",
    }  # fmt: skip
    for kind in ("weight", "bias"):
        into[f"layer_norm.{kind}"] = state[f"norm.{kind}"]
        for layer in range(2):
            ahead = f"layers.{layer}"
            for mine, their in names.items():
                into[f"{ahead}.{their}.{kind}"] = state[f"{ahead}.{mine}.{kind}"]
            parts = state[f"{ahead}.query_key_value.{kind}"].chunk(3)
            for part, their in zip(parts, ("q_proj", "k_proj", "v_proj"), strict=True):
                if their != "k_proj" or kind == "weight":
                    into[f"{ahead}.self_attn.{their}.{kind}"] = part
    for layer in range(2):
        key = state[f"layers.{layer}.audio_key.weight"]
        into[f"layers.{layer}.encoder_attn.k_proj.weight"] = key
    theirs.load_state_dict(into)
    return ours, theirs


def test_a_mixed_iteration_of_whispers_decoder_equals_transformers():
    ours, theirs = whisper()
    hidden = drawn(3, 24, 32)
    texts = [ids(7, 1), ids(11, 2), ids(4, 3)]
    slots = ours.slots(3, 40, hidden)
    with torch.inference_mode():
        ours(texts[1][:10], [Rows(2, 0, 10, 0)], slots)
        found = ours(
            torch.cat([texts[0], texts[1][10:], texts[2]]),
            [Rows(0, 0, 7, 0), Rows(2, 7, 1, 10), Rows(1, 8, 4, 0)],
            slots,
        )
        for row, text, slot in zip(found, texts, (0, 2, 1), strict=True):
            out = theirs(text[None], encoder_hidden_states=hidden[slot][None], use_cache=False)
            wanted = torch.nn.functional.linear(
                out.last_hidden_state[0, -1], theirs.embed_tokens.weight
            )
            assert torch.allclose(row, wanted, **CLOSE)
        deaf = ours(texts[0], [Rows(1, 0, 7, 0)], slots)
    assert not torch.allclose(deaf[0], found[0], atol=1e-2), "the audio of the slot counts"


@pytest.mark.parametrize("shape", [TEXT, SPEECH], ids=["gpt2", "whisper"])
@pytest.mark.parametrize("cuts", [(1,), (6, 7), (1, 2, 3, 12), tuple(range(1, 13))])
def test_a_prompt_in_chunks_gives_what_it_gives_whole(shape, cuts):
    model, text = louder(built(shape, 0)), ids(13)
    slots = model.slots(2, 40, drawn(1, 24, 32).expand(2, -1, -1) if shape.frames else None)
    with torch.inference_mode():
        whole = model(text, [Rows(0, 0, 13, 0)], slots)
        for begin, end in zip((0, *cuts), (*cuts, 13), strict=True):
            part = model(text[begin:end], [Rows(1, 0, end - begin, begin)], slots)
    assert torch.allclose(part, whole, **CLOSE)


@pytest.fixture
def runner(monkeypatch):
    """A small decoder whose tokens differ from each other."""
    from profiles.models import decoder_runner

    monkeypatch.setattr(decoder_runner, "find_decoder", lambda _name: TEXT)
    made = DecoderRunner("small", slots=2, longest=40)
    louder(made.model, 0.6)
    return made


def served(runner, sequence, prompt, output):
    """Alone, prompt first, then step by step."""
    runner.open(sequence, prompt)
    said = runner.step([Piece(sequence, prompt, 0)])
    for place in range(output - 1):
        said += runner.step([Piece(sequence, 1, prompt + place)])
    runner.drop(sequence, ended=True)
    return said


def test_a_sequence_that_lost_its_memory_goes_on_with_the_same_tokens(runner):
    alone, other = served(runner, 4, 6, 9), served(runner, 5, 3, 9)
    assert len(set(alone)) > 2, "a text of one word would prove nothing"
    assert alone != other
    runner.open(4, 6)
    runner.open(5, 3)
    said = runner.step([Piece(4, 6, 0), Piece(5, 3, 0)])[:1]
    for place in range(3):
        said += runner.step([Piece(5, 1, 3 + place), Piece(4, 1, 6 + place)])[1:]
    runner.drop(4, ended=False)
    runner.open(9, 20)
    runner.step([Piece(9, 20, 0), Piece(5, 1, 6)])
    runner.drop(9, ended=True)
    runner.step([Piece(4, 7, 0), Piece(5, 1, 7)])
    said += runner.step([Piece(4, 3, 7)])
    for place in range(4):
        said += runner.step([Piece(4, 1, 10 + place)])
    assert said == alone


def test_batch_mates_do_not_matter(runner):
    alone = served(runner, 1, 5, 4)
    runner.open(1, 5)
    runner.open(2, 11)
    said = runner.step([Piece(2, 11, 0), Piece(1, 5, 0)])[1:]
    for place in range(3):
        said += runner.step([Piece(1, 1, 5 + place), Piece(2, 1, 11 + place)])[:1]
    assert said == alone


def test_what_cannot_be_computed_is_refused_in_a_sentence(runner):
    with pytest.raises(ModelError, match="sequence 3 was not opened"):
        runner.step([Piece(3, 4, 0)])
    runner.open(3, 4)
    with pytest.raises(ModelError, match="0 of 4 known tokens in memory, but tokens 2 to 4"):
        runner.step([Piece(3, 2, 2)])
    with pytest.raises(ModelError, match="tokens 0 to 5 of at most 40"):
        runner.step([Piece(3, 5, 0)])
    runner.step([Piece(3, 4, 0)])
    runner.open(4, 1)
    runner.step([Piece(4, 1, 0)])
    runner.open(5, 1)
    with pytest.raises(ModelError, match="holds 2 sequences, and all are taken"):
        runner.step([Piece(5, 1, 0)])


def test_a_model_that_does_not_exist_or_is_too_short_is_refused():
    with pytest.raises(ModelError, match="the nearest is gpt2-mini"):
        DecoderRunner("gpt2-mimi", slots=1)
    with pytest.raises(ModelError, match="up to 1024 tokens, but got 2000"):
        DecoderRunner("gpt2-tiny", slots=1, longest=2000)


def test_padding_is_computed_and_changes_no_token(runner):
    alone, ran = served(runner, 1, 5, 2), []
    runner.model.register_forward_pre_hook(lambda _, given: ran.append(len(given[0])))
    runner.open(1, 5)
    said = runner.step([Piece(1, 5, 0)], [Piece(0, 3, 0), Piece(0, 1, 30)])
    said += runner.step([Piece(1, 1, 5)], [Piece(0, 1, 6)])
    assert said == alone
    assert ran == [9, 2]


def test_pretended_iterations_leave_sequences_alone(runner):
    alone = served(runner, 1, 5, 4)
    runner.pretend([Piece(0, 7, 3), Piece(1, 1, 30)])
    assert served(runner, 1, 5, 4) == alone
    assert sorted(runner.free) == [0, 1]
