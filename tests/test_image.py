"""Images as content: a tiny CLIP made here reads files, and what is wrong with them is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmtokens import HashingEncoder, ImageEncoder, LLMTokens
from llmtokens.encode import models
from llmtokens.errors import DataError, FileFormatError, LLMTokensWarning, ModelNotFoundError

SIZE, DIM = 8, 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The folder of a CLIP with random weights that sees 8 by 8 pixels."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    pytest.importorskip("PIL", reason="needs llmtokens[images]")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    words = ["<|startoftext|>", "<|endoftext|>", *"abc"]
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, words[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=words[0], eos_token=words[1], pad_token=words[1],
        unk_token=words[1], model_max_length=16,
    )  # fmt: skip
    shape = {"height": SIZE, "width": SIZE}
    images = CLIPImageProcessorPil(size=shape, crop_size=shape)
    transformers.CLIPProcessor(image_processor=images, tokenizer=fast).save_pretrained(folder)
    torch.manual_seed(0)
    layers = {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "projection_dim": DIM,
    }  # fmt: skip
    text = layers | {"vocab_size": 5, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = layers | {"image_size": SIZE, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def posters(tmp_path_factory):
    """Paths of six images of different sizes and formats."""
    image = pytest.importorskip("PIL.Image", reason="needs llmtokens[images]")
    folder, rng, paths = tmp_path_factory.mktemp("posters"), np.random.default_rng(0), []
    for k, (ending, mode) in enumerate([("png", "RGB"), ("jpg", "RGB"), ("png", "L")] * 2):
        pixels = rng.integers(0, 255, (SIZE + k, SIZE + 2 * k, 3), dtype=np.uint8)
        paths.append(str(folder / f"{k}.{ending}"))
        image.fromarray(pixels).convert(mode).save(paths[-1])
    return paths


def test_rows_are_those_of_the_model_itself(clip, posters):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from PIL import Image

    encoder = ImageEncoder(clip, cache=False, device="cpu", batch_size=4)
    rows = encoder.encode(posters)
    assert np.array_equal(encoder.encode(["", ""]), np.zeros((2, DIM)))
    assert rows.shape == (6, DIM)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.CLIPProcessor.from_pretrained(clip)
    for path, row in zip(posters, rows, strict=True):
        pixels = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            expected = model.get_image_features(**pixels)
        expected = getattr(expected, "pooler_output", expected)[0].numpy()
        assert np.allclose(row, expected, atol=1e-5)
    assert len({tuple(row.round(4)) for row in rows}) == 6


def test_an_image_is_known_by_its_content(clip, posters, tmp_path, monkeypatch):
    first = ImageEncoder(clip, cache=tmp_path, device="cpu").encode(posters)
    renamed = [shutil.copy(path, tmp_path / f"other-{k}") for k, path in enumerate(posters)]
    again = ImageEncoder(clip, cache=tmp_path, device="cpu")
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("the model was loaded again"))
    assert np.array_equal(again.encode([str(path) for path in renamed]), first)
    assert np.array_equal(again.encode([posters[2], str(renamed[2])]), first[[2, 2]])


def test_images_stand_beside_text_in_tokens(clip, posters, tmp_path):
    frame = pd.DataFrame({
        "item": range(7), "title": list("abcdefg"), "poster": [*posters[:3], None, *posters[3:]],
    })  # fmt: skip
    encoder = ImageEncoder(clip, cache=False, device="cpu")
    options = {"image": "poster", "image_encoder": encoder}
    with pytest.warns(LLMTokensWarning, match="1 of 7 ids have no content"):
        seen = LLMTokens.from_frame(frame, **options)
    assert seen.ids == [0, 1, 2, 4, 5, 6]  # what has no content has no token
    both = LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder(16), **options)
    assert len(both) == 7
    assert both.embeddings.shape == (7, 16)  # of text alone
    assert both.text_space == LLMTokens.from_texts(
        [1, 2], ["a", "b"], encoder=HashingEncoder(16)
    ).text_space  # fmt: skip
    assert np.allclose(both.describe(2)["text and image share"], 1)
    assert np.allclose(both.transform(frame), both.vectors, atol=1e-5)
    both.save(tmp_path / "tokens")
    back = LLMTokens.load(tmp_path / "tokens", encoder=[encoder])
    assert np.allclose(back.transform(frame.iloc[:2]), both.vectors[:2], atol=1e-5)
    assert np.allclose(back.with_content(9, {"poster": posters[0]})[9],
                       back.transform(frame.iloc[:1].assign(title=""))[0], atol=1e-5)  # fmt: skip
    with pytest.raises(ModelNotFoundError, match="hand it over"):
        LLMTokens.load(tmp_path / "tokens").transform(frame)


def test_images_that_cannot_be_read_are_named_with_their_rows(clip, posters, tmp_path):
    frame = pd.DataFrame({"item": range(3), "poster": [posters[0], "no/such.png", posters[1]]})
    encoder = ImageEncoder(clip, cache=False, device="cpu")
    options = {"image": "poster", "image_encoder": encoder}
    with pytest.raises(DataError, match=r"'poster', 1 of 3.*'no/such.png' in row 1; expected"):
        LLMTokens.from_frame(frame, **options)
    for address in ("http://somewhere/poster.png", "\0"):
        with pytest.raises(DataError, match="cannot be read"):
            encoder.encode([address])
    for k, content in enumerate([b"no image", Path(posters[0]).read_bytes()[:60]]):
        (tmp_path / f"bad-{k}.png").write_bytes(content)
        bad = frame.assign(poster=[posters[0], posters[1], str(tmp_path / f"bad-{k}.png")])
        with pytest.raises(DataError, match="'poster', 1 of 3.* in row 2"):
            LLMTokens.from_frame(bad, **options)
    with pytest.raises(DataError, match="found the columns"):
        LLMTokens.from_frame(frame, image="picture", image_encoder=encoder)
    with pytest.raises(DataError, match="batch_size=0"):
        ImageEncoder(clip, batch_size=0).encode(posters)


@pytest.mark.skipif(models._offline_folder() is None, reason="needs llmtokens[offline]")
def test_a_model_of_texts_reads_no_images(posters):
    encoder = ImageEncoder(models._offline_folder(), cache=False, device="cpu")
    with pytest.raises(DataError, match="which reads 'text'; expected a model that reads images"):
        encoder.encode(posters)


def test_a_folder_that_is_no_model_is_refused(posters, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError, match="cannot be loaded"):
        ImageEncoder(tmp_path, cache=False).encode(posters)
