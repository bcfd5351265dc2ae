"""wav2vec 2.0 and Whisper: frames, masks, the cache, and what a clip's length costs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from profiles.models import wav2vec2, weights, whisper  # noqa: E402
from profiles.models.catalogue import Row, Wav2Vec2Shape, WhisperShape  # noqa: E402
from profiles.models.inputs import Staging, collate  # noqa: E402

WAVE = Wav2Vec2Shape(3, 64, 4, 128, 32)
MEL = WhisperShape(2, 64, 4, 128, 60_000)
LENGTHS = (180, 700, 25, 410)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def louder(model):
    """Weights that are large enough for every term to show in the output."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4.0)
    return model


@pytest.fixture(scope="module")
def speech():
    return louder(weights.build(Row("small", "audio_ms", 25, 30_000, WAVE, 0), 0))


@pytest.fixture(scope="module")
def clips():
    """The inputs of the items, and both collated."""
    feed = wav2vec2.feed(generator())
    items = [feed.item(index, length) for index, length in enumerate(LENGTHS)]
    return items, *collate(feed, items, LENGTHS, Staging(pinned=False), (4, max(LENGTHS)))


def test_frames_are_what_the_convolutions_give(speech):
    for samples in (400, 401, 719, 720, 3999, 16_000, 16_001):
        assert speech.front(torch.zeros(1, samples)).shape[1] == wav2vec2.frames(samples)
    assert wav2vec2.frames(399) == 0
    assert wav2vec2.frames(16_000) == 49


def test_after_the_front_end_an_item_of_a_padded_batch_is_as_alone(speech):
    counts = [wav2vec2.frames(16 * length) for length in LENGTHS]
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    features = torch.randn(4, max(counts), WAVE.channels, generator=generator())
    together, unmasked = speech.encode(features, mask), speech.encode(features, None)
    for row, count in enumerate(counts):
        alone = speech.encode(features[row : row + 1, :count], mask[row : row + 1, :count])[0]
        assert torch.allclose(together[row, :count], alone, atol=1e-5)
        gap = (unmasked[row, :count] - alone).abs().max()
        assert gap < 1e-5 if count == max(counts) else gap > 1e-3


def test_the_front_end_sees_the_zeros_of_the_padding_as_in_the_published_models(speech, clips):
    items, wave, mask = clips
    assert mask.sum(1).tolist() == [wav2vec2.frames(len(item)) for item in items]
    together = speech(wave, mask)
    assert together.shape == (4, mask.shape[1], wav2vec2.LETTERS)
    gaps = []
    for row, item in enumerate(items):
        alone = speech(item[None], torch.ones(1, int(mask[row].sum()), dtype=torch.bool))[0]
        gaps.append(float((together[row, : len(alone)] - alone).abs().max()))
    assert gaps[1] < 1e-5, "the longest is not padded"
    assert min(gaps[0], gaps[2], gaps[3]) > 1e-4


def test_batch_mates_do_not_matter(speech, clips):
    _, wave, mask = clips
    together = speech(wave, mask)
    pair = speech(wave[:2], mask[:2])
    assert torch.allclose(together[0, mask[0]], pair[0, mask[0]], atol=1e-5)


@pytest.fixture(scope="module")
def listener():
    return louder(weights.build(Row("small", "audio_ms", 1, 30_000, MEL, 0), 0))


def mels(*lengths):
    feed = whisper.feed(generator())
    items = [feed.item(index, length) for index, length in enumerate(lengths)]
    return collate(feed, items, lengths, Staging(pinned=False), (len(items), max(lengths)))


def test_every_clip_is_padded_to_30_s_and_decodes_steps_by_its_length():
    mel, mask = mels(1000, 2500, 1)
    assert mel.shape == (3, whisper.MELS, whisper.FRAMES)
    assert mask.sum(1).tolist() == [8, 14, 5]
    assert whisper.steps(30_000) == 124 <= whisper.STEPS_MAX
    assert mel[0, :, 100:].abs().max() == 0.0 < mel[0, :, 99].abs().max()


def test_a_clip_is_decoded_in_a_batch_as_alone(listener):
    mel, mask = mels(300, 1500)
    together = listener(mel, mask)
    alone = listener(mel[:1], mask[:1, : whisper.steps(300)])
    assert torch.allclose(together[0, : alone.shape[1]], alone[0], atol=1e-5)
    assert together[0, alone.shape[1] :].abs().max() == 0.0
    assert (together[1] < 0.0).all()


def test_the_cache_gives_what_a_causal_pass_over_the_whole_text_gives(listener):
    mel, mask = mels(1000)
    hidden = listener.encode(mel)
    count = mask.shape[1]
    got, tokens = [], [torch.tensor([whisper.START])]
    size, heads, each = 1, MEL.heads, MEL.width // MEL.heads
    caches = [[torch.zeros(size, heads, count, each) for _ in range(2)] for _ in listener.decoder]
    audio = [layer.audio.keys_values(hidden) for layer in listener.decoder]
    for step in range(count):
        got.append(listener.step(tokens[-1], step, caches, audio))
        tokens.append(got[-1].argmax(-1))
    assert len({int(token) for token in tokens}) > 2, "a text of one word would prove nothing"
    x = listener.word(torch.stack(tokens[:-1], 1)) + listener.word_position.weight[:count]
    for layer, seen in zip(listener.decoder, audio, strict=True):
        normed = layer.norm_past(x)
        past = layer.past
        q, (k, v) = past.split(past.q(normed)), past.keys_values(normed)
        causal = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + past.o(causal.transpose(1, 2).reshape(x.shape))
        x = x + layer.audio(layer.norm_audio(x), *seen)
        x = layer.inner(x)
    scores = torch.nn.functional.linear(listener.norm_decoder(x), listener.word.weight)
    assert torch.allclose(torch.stack(got, 1), scores.log_softmax(-1), atol=1e-4)
    assert torch.allclose(listener(mel, mask), torch.stack(got, 1).amax(-1), atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_wav2vec2_equals_transformers(padded):
    transformers = pytest.importorskip("transformers", reason="compared where it is installed")
    config = transformers.Wav2Vec2Config(
        hidden_size=WAVE.width,
        num_hidden_layers=WAVE.layers,
        num_attention_heads=WAVE.heads,
        intermediate_size=WAVE.inner,
        conv_dim=(WAVE.channels,) * 7,
        vocab_size=wav2vec2.LETTERS,
    )
    theirs = transformers.Wav2Vec2ForCTC(config).eval()
    seeded = generator()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.1, generator=seeded)
    ours = weights.module(WAVE).eval()
    ours.load_state_dict(speech_weights(theirs))
    wave = torch.randn(2, 9600, generator=seeded)
    samples = torch.tensor([9600, 6000 if padded else 9600])
    wave[torch.arange(9600) >= samples[:, None]] = 0.0
    counts = torch.tensor([wav2vec2.frames(int(count)) for count in samples])
    mask = torch.arange(wav2vec2.frames(9600)) < counts[:, None]
    attention = torch.arange(9600) < samples[:, None]
    with torch.no_grad():
        expected = theirs(wave, attention_mask=attention.long()).logits
        got = ours(wave, mask)
    assert expected.abs().max() > 0.1
    assert (got - expected)[mask].abs().max() < 1e-5


def speech_weights(theirs):
    """Their weights by our names; the position convolution with its normalisation folded in."""
    renames = (
        ("wav2vec2.feature_projection.layer_norm.", "norm_front."),
        ("wav2vec2.feature_projection.projection.", "project."),
        ("wav2vec2.encoder.layer_norm.", "norm."),
        ("wav2vec2.encoder.layers.", "layers."),
        ("attention.q_proj.", "q."),
        ("attention.k_proj.", "k."),
        ("attention.v_proj.", "v."),
        ("attention.out_proj.", "o."),
        (".final_layer_norm.", ".norm_inner."),
        (".layer_norm.", ".norm_attention."),
        ("feed_forward.intermediate_dense.", "up."),
        ("feed_forward.output_dense.", "down."),
        ("lm_head.", "letters."),
    )
    convolution = theirs.wav2vec2.encoder.pos_conv_embed.conv
    named = {
        "position.weight": convolution.weight.detach(),
        "position.bias": convolution.bias.detach(),
    }
    for key, value in theirs.state_dict().items():
        if "pos_conv_embed" in key or "masked_spec_embed" in key:
            continue
        if "feature_extractor" in key:
            number, _, kind = key.partition("conv_layers.")[2].partition(".")
            short = kind.replace("layer_norm", "norm")
            name = f"front.{short}" if "norm" in short else f"front.convolutions.{number}.weight"
        else:
            name = key
            for theirs_part, ours_part in renames:
                name = name.replace(theirs_part, ours_part)
        named[name] = value
    return named


def test_whisper_equals_transformers():
    transformers = pytest.importorskip("transformers", reason="compared where it is installed")
    config = transformers.WhisperConfig(
        vocab_size=MEL.vocabulary,
        d_model=MEL.width,
        encoder_layers=MEL.layers,
        decoder_layers=MEL.layers,
        encoder_attention_heads=MEL.heads,
        decoder_attention_heads=MEL.heads,
        encoder_ffn_dim=MEL.inner,
        decoder_ffn_dim=MEL.inner,
    )
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    seeded = generator()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.1, generator=seeded)
    ours = weights.module(MEL).eval()
    ours.load_state_dict(listener_weights(theirs))
    mel = torch.randn(1, whisper.MELS, whisper.FRAMES, generator=seeded)
    mask = torch.ones(1, 6, dtype=torch.bool)
    with torch.no_grad():
        got, token = [], torch.tensor([[whisper.START]])
        for _ in range(6):
            scores = theirs(mel, decoder_input_ids=token).logits[:, -1].log_softmax(-1)
            best, following = scores.max(-1)
            got.append(best)
            token = torch.cat([token, following[:, None]], 1)
        assert torch.allclose(ours(mel, mask)[0], torch.cat(got), atol=1e-4)


def listener_weights(theirs):
    """Their weights by our names; the output projection is the word embedding."""
    renames = (
        ("model.encoder.conv1.", "convolution_1."),
        ("model.encoder.conv2.", "convolution_2."),
        ("model.encoder.embed_positions.", "frame_position."),
        ("model.encoder.layer_norm.", "norm_encoder."),
        ("model.encoder.layers.", "encoder."),
        ("model.decoder.embed_tokens.", "word."),
        ("model.decoder.embed_positions.", "word_position."),
        ("model.decoder.layer_norm.", "norm_decoder."),
        ("model.decoder.layers.", "decoder."),
        ("encoder_attn_layer_norm.", "norm_audio."),
        ("encoder_attn.", "audio."),
        ("self_attn_layer_norm.", "norm_past."),
        ("self_attn.", "past."),
        ("q_proj.", "q."),
        ("k_proj.", "k."),
        ("v_proj.", "v."),
        ("out_proj.", "o."),
        ("final_layer_norm.", "inner.norm."),
        ("fc1.", "inner.up."),
        ("fc2.", "inner.down."),
    )
    named = {}
    for key, value in theirs.state_dict().items():
        if key == "proj_out.weight":
            continue
        name = key
        for part, ours in renames:
            name = name.replace(part, ours)
        if name.startswith("encoder."):
            name = name.replace(".past.", ".attention.").replace(".norm_past.", ".norm.")
        named[name] = value
    return named
