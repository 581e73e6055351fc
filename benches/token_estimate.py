"""Error of the token estimate of pools against OpenAI's tokenizers, on prompts of tables.

The tokenizers lie in LiteLLM's package, so this runs in the environment of ``make test-integrations``.

Usage: python benches/token_estimate.py TABLE.parquet... [--limit 2000]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import turnout
from turnout.data.prompts import read_prompts

#: That of the core.
MARGIN = 2.0
ENCODINGS = ("cl100k_base", "o200k_base")


def main() -> None:
    """Prints, for each table and tokenizer, the error and how often the margin is too small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="TABLE")
    parser.add_argument("--column", default="prompt")
    parser.add_argument("--limit", type=int, default=2000, help="prompts of a table, evenly spaced")
    args = parser.parse_args()
    import litellm.litellm_core_utils.tokenizers as files

    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(files.__file__).parent)
    import tiktoken

    encodings = [tiktoken.get_encoding(name) for name in ENCODINGS]
    # A price of one for an input token: costs are the estimated tokens.
    model = turnout.Model("a", success=0.5, input_price=1e6, output_price=0)
    router = turnout.load(pool=turnout.Pool([model]))
    print(
        "| table | prompts | tokenizer | mean tokens | median of estimate / truth | median error | p95 error | beyond the margin |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for table in args.tables:
        prompts = [text for _, texts in read_prompts(table, args.column) for text in texts if isinstance(text, str)]
        prompts = prompts[:: max(len(prompts) // args.limit, 1)]
        estimates = router.costs(prompts)[:, 0]
        for encoding in encodings:
            truth = np.array([max(len(ids), 1) for ids in encoding.encode_ordinary_batch(prompts)])
            ratio = np.maximum(estimates, 1) / truth
            error = np.abs(ratio - 1)
            beyond = (estimates * MARGIN < truth).mean()
            print(
                f"| {Path(table).stem} | {len(prompts):,} | {encoding.name} | {truth.mean():.0f} | {np.median(ratio):.2f} "
                f"| {np.median(error):.1%} | {np.quantile(error, 0.95):.1%} | {beyond:.2%} |"
            )


if __name__ == "__main__":
    main()
