"""Reads checkpoints of other projects (extra ``[import]``), and attaches embeddings to routers that do not compute their own.

Importing this costs nothing: what is heavy is imported where it is used.
"""

from turnout.embedding_router import EmbeddingRouter, with_embeddings
from turnout.importers.bert import import_bert
from turnout.importers.causal_llm import import_causal_llm
from turnout.importers.embedding_client import EmbeddingClient
from turnout.importers.mf import import_mf
from turnout.importers.sw_ranking import import_sw_ranking

__all__ = [
    "EmbeddingClient",
    "EmbeddingRouter",
    "import_bert",
    "import_causal_llm",
    "import_mf",
    "import_sw_ranking",
    "with_embeddings",
]
