"""Secrets are masked in commands and URLs before they are recorded."""

from __future__ import annotations

import re
import time

import pytest

from chachaml_lite.machine.secrets import mask_command, mask_text, strip_user_info

SECRET = "hunter2"


@pytest.mark.parametrize(
    "words",
    [
        ["--token", SECRET],
        [f"--token={SECRET}"],
        ["--api-key", SECRET],
        ["--apiKey", SECRET],
        ["--hf_token", SECRET],
        [f"-password={SECRET}"],
        ["--db.password", SECRET],
        ["--client-secret", f"-{SECRET}"],
        [f"db.password={SECRET}"],
        [f"HF_TOKEN={SECRET}", "python"],
        ["sh", "-c", f"python train.py --token {SECRET} --lr 1"],
        ["sh", "-c", f"WANDB_API_KEY={SECRET} python train.py"],
        ["sh", "-c", f"python train.py --secret='{SECRET} and more'"],
        ["sh", "-c", f'python train.py --secret "{SECRET} and more"'],
        [f'{{"api_key": "{SECRET}", "lr": 1}}'],
        ["-H", f"Authorization: Bearer {SECRET}"],
        [f"https://ana:{SECRET}@host/x"],
        [f"postgres://{SECRET}@host/db"],
        ["sh", "-c", f"git clone https://ana:{SECRET}@host/x.git"],
        [f"https://host/x?access_token={SECRET}&y=1"],
        ["--token", SECRET, "--token", SECRET],
    ],
)
def test_secret_is_masked(words: list[str]) -> None:
    masked_words = mask_command(["python", *words, "last"])
    assert SECRET not in str(masked_words), masked_words
    assert masked_words[0] == "python" and masked_words[-1] == "last"
    assert len(masked_words) == len(words) + 2


@pytest.mark.parametrize(
    "words",
    [
        ["python", "train.py", "--lr", "0.1", "--epochs=3", "-v"],
        ["--tokenizer", "bert", "--max-tokens", "100", "--monkey=1", "--keyboard", "us"],
        ["--key", "--lr", "0.1"],
        ["sh", "-c", "python train.py --lr 0.1 && echo done"],
        ["git@github.com:org/repo.git", "a@b", "https://host/a@b", "x=1"],
        ["--lr=0.1", "model.size=10", '{"lr": 0.1}'],
    ],
)
def test_other_words_stay_unchanged(words: list[str]) -> None:
    assert mask_command(words) == words


def test_urls_lose_only_their_user_info() -> None:
    assert strip_user_info("git+https://x:y@host:8080/p@1.0#egg=a") == "git+https://host:8080/p@1.0#egg=a"
    assert strip_user_info("https://x:p@ss@host/p") == "https://host/p"
    assert strip_user_info("ssh://git@host/p and http://a@b/c") == "ssh://host/p and http://b/c"


def test_long_and_odd_texts_are_masked_quickly() -> None:
    start = time.process_time()
    for text in (
        "a" * 200_000,
        "--" * 100_000,
        "a=" * 100_000,
        "http://" * 30_000,
        '"' * 100_000,
        "--key " * 30_000,
        "@" * 100_000,
    ):
        mask_text(text)
    assert time.process_time() - start < 10
    assert re.fullmatch(r"(--key \*\*\* ?)*", mask_text("--key --key ")) is None
