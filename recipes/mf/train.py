"""Makes the shipped `mf`: tables and grades in, an artifact out.

    python -m recipes.mf.train --data DATA --out python/turnout/artifacts/mf

DATA holds the folders `train`, `train2` and `dev` of tables that `notes.md` names.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer

from turnout.progress import ProgressCallback, plain_lines, progress_bars

from .data import PAIRS, Data, outcomes, prompts_alike, read_data
from .labels import Source, features, labels
from .linear_teacher import bags, cross_fitted, difficulty_directions, fit_teacher, inverse_frequency
from .mixing import bare_questions, mixed
from .rewriting import rewritten
from .sentence_encoder import SentenceEncoder
from .student import Student, StudentConfig, log_counts, train_student
from .tokens import count_table, encode
from .vocabulary import english_vocabulary, inner_pieces, vocabulary, write_tokenizer
from .write import MAX_TOKENS, write

GRADED = Path(__file__).parent.parent / "graded"


def main() -> None:
    """Reads the arguments, trains, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument(
        "--english", type=Path, help="folder of all-MiniLM-L6-v2, for its vocabulary; default: the package's"
    )
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/turnout/recipes").expanduser())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--pieces",
        type=float,
        default=StudentConfig.pieces,
        help="move the rows of Latin pieces inside words by this share of the way to their mean, against typos; default: %(default)s",
    )
    args = parser.parse_args()

    files = sorted([*args.data.glob("train/*.parquet"), *args.data.glob("train2/*.parquet")])
    battles = [file for file in files if "battles" in file.stem]
    correctness = [file for file in files if "battles" not in file.stem]
    dev, graded = sorted(args.data.glob("dev/*.parquet")), sorted(GRADED.glob("*.parquet"))
    data = read_data(correctness, battles, dev, graded)

    console = Console(stderr=True)
    encoder = SentenceEncoder(args.cache)
    tokenizer_file = args.cache / "tokenizer.json"
    tokens = vocabulary(english_vocabulary(args.english), encoder.pieces, data.prompts)
    write_tokenizer(tokens, tokenizer_file)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    counts = count_table(tokens)
    config = StudentConfig(seed=args.seed, pieces=args.pieces)
    with progress_bars(console) as report:
        student, ids = fit(data, encoder, tokenizer, tokens, counts, config, report)

    report = write(args.out, data, student, config, tokenizer_file, counts, ids, [*correctness, *battles, *graded], dev)
    say = plain_lines(console)
    for name, scores in report.items():
        say(f"{name}: {scores}")
    say(f"wrote {args.out}")


def fit(
    data: Data,
    encoder: SentenceEncoder,
    tokenizer: Tokenizer,
    tokens: Sequence[str],
    counts: NDArray[np.float32],
    config: StudentConfig,
    report: ProgressCallback,
) -> tuple[Student, dict[str, NDArray[np.int64]]]:
    """Labels every prompt and trains the student; returns it and the token ids of the prompts."""
    row_of = {prompt: row for row, prompt in enumerate(data.prompts)}
    ids = encode(tokenizer, data.prompts, MAX_TOKENS)
    generator = random.Random(config.seed)
    other = encode(tokenizer, [rewritten(prompt, generator) for prompt in data.prompts], MAX_TOKENS)
    # A prompt without tokens has nothing to learn from.
    ids, other = ([row.astype(np.int64) if len(row) else np.array([1]) for row in rows] for rows in (ids, other))
    embeddings = encoder.embed(data.prompts, report)
    known_features = features(ids, embeddings, log_counts(ids, counts), len(tokens))

    frequency = inverse_frequency(bags(ids, len(tokens)))
    directions = difficulty_directions(
        {table.name: table for table in data.tables}, dict(zip(data.prompts, ids, strict=True)), frequency
    )
    numbers = np.random.default_rng(config.seed)
    sources, made = {}, []
    for name, pair in PAIRS.items():
        prompts, gain = outcomes(data.tables, pair)
        known = np.array([prompt in row_of for prompt in prompts])
        own = np.array([row_of[prompt] for prompt, kept in zip(prompts, known, strict=True) if kept])
        alike = [prompt for prompt in prompts_alike(data.tables, pair) if prompt in row_of]
        further = np.array(sorted({row_of[prompt] for prompt in alike} - set(own.tolist())), dtype=np.int64)
        source = Source(own, gain[known], further, pair.share)
        if pair.linear:
            asked = [ids[row] for row in own]
            fit_one = partial(fit_teacher, pair.linear, frequency=frequency, counts=counts, directions=directions)
            teacher = fit_one(asked, source.gain)
            questions = bare_questions(alike, pair.options, config.seed) if pair.options else []
            new = [
                *mixed(asked, pair.mixed, numbers),
                *(row.astype(np.int64) for row in encode(tokenizer, questions, MAX_TOKENS)),
            ]
            predicted = teacher.predict(ids, counts)
            predicted[own] = cross_fitted(fit_one, asked, source.gain, counts, numbers)
            source = replace(source, predicted=predicted, made=teacher.predict(new, counts))
            made += new
        sources[name] = source

    grades = data.grades
    kept = [row for row, dev in enumerate(grades.dev) if not dev and grades.prompts[row] in row_of]
    graded = np.array([row_of[grades.prompts[row]] for row in kept])
    label, weight = labels(known_features, graded, grades.grade[kept], sources)
    student = train_student(
        [*ids, *made], [*other, *made], counts, label, weight, encoder.token_rows(tokens), config, report
    )
    student.draw_together(inner_pieces(tokens), config.pieces)
    return student, dict(zip(data.prompts, ids, strict=True))


if __name__ == "__main__":
    main()
