"""Builds a router over embeddings that your program computes, then routes with them.

Use this where your service computes an embedding of each prompt anyway. Here it is a hashed bag of words, so that the
example needs no model; replace `embed` by your encoder, and use the same one for training and routing.

Run: python examples/own_embeddings.py      (writes the artifact folder own-embeddings)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

import turnout
from turnout.data import BadRows
from turnout.routers.sw_ranking.encoder import Encoder
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build

BATTLES = Path(__file__).parent / "data" / "battles.csv"  # prompt, model_a, model_b, winner
OUT = Path("own-embeddings")
DIM = 128

vectorizer = HashingVectorizer(n_features=DIM, ngram_range=(1, 2))


def embed(prompts: Sequence[str]) -> np.ndarray:
    """Embeddings, float32 [prompts, DIM]."""
    return vectorizer.transform(prompts).toarray().astype(np.float32)


battles = read_battle_table([BATTLES], bad=BadRows())
options = Options(strong="gpt-4-1106-preview", weak="mixtral-8x7b-instruct-v0.1")
build(battles, Encoder(dim=DIM), options, OUT, vectors=embed(battles.prompts))

# With a vector that you already have; it is not copied.
router = turnout.load(OUT)
vector = embed(["Prove that the square root of 2 is irrational."])[0]
print(router.route(embedding=vector))

# Or with the function attached: the router then takes prompts, in every method.
routed = turnout.with_embeddings(router, embed)
for decision in routed.route_batch(["Tell me a fun fact about otters.", "Prove that pi is irrational."]):
    print(decision)
