"""Reads Hugging Face checkpoint folders, one tensor at a time, so that memory is bounded by the largest tensor."""

from __future__ import annotations

import codecs
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ArtifactError
from turnout.graphs.blocks import row_blocks
from turnout.graphs.checkpoint_tokenizer import effective_tokenizer, refuse_lfs_pointer

#: Beyond these, numbers of a configuration are not meant.
_LARGE, _MOST = 1e30, 2**31 - 1
#: The token limit of artifacts; see ``models/README.md``.
_MAX_TOKENS = 8192
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class Checkpoint:
    """A folder as ``save_pretrained`` writes it: ``config.json``, safetensors in one file or several, ``tokenizer.json``.

    Args:
        folder: The folder.

    Raises:
        ArtifactError: A file is missing or damaged; names it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.json("config.json")
        #: File, type, shape and first byte of every tensor by name.
        self._places: dict[str, tuple[Path, str, list[int], int]] = {}
        for file in self._files():
            self._read_header(file)

    @property
    def kind(self) -> str:
        """The architecture, as transformers names it: ``model_type`` of ``config.json``."""
        return str(self.config.get("model_type"))

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder; it must be there."""
        file = self.folder / name
        try:
            text = file.read_text(encoding="utf-8-sig")
            refuse_lfs_pointer(file, text[:100].encode())
            found = json.loads(text)
        except FileNotFoundError:
            raise ArtifactError.at(
                file, "missing, expected a checkpoint with config.json, model.safetensors and tokenizer.json"
            ) from None
        except (ValueError, RecursionError) as error:
            raise ArtifactError.at(file, f"not JSON: {error}") from error
        if not isinstance(found, dict):
            raise ArtifactError.at(file, f"expected a JSON object, found {type(found).__name__}")
        return found

    def optional_json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder, empty where the file is missing."""
        return self.json(name) if (self.folder / name).exists() else {}

    def number(self, *names: str, default: float | None = None, least: float = -_LARGE, most: float = _LARGE) -> float:
        """The first of these fields of ``config.json`` that is there and not null.

        Raises:
            ArtifactError: None of them is present and there is no default, or the value is not a number from ``least`` to ``most``.
        """
        for name in names:
            value = self.config.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                raise ArtifactError.at(
                    self._config, f"{name} is {value!r}, expected a number from {least:g} to {most:g}"
                )
            return value
        if default is None:
            raise ArtifactError.at(self._config, f"{names[0]} is missing, expected a number")
        return default

    def whole(self, *names: str, default: int | None = None, least: int = 1, most: int = _MOST) -> int:
        """As :meth:`number`, for sizes and counts; 12.0 is a whole number too."""
        value = self.number(*names, default=default, least=least, most=most)
        if value != int(value):
            raise ArtifactError.at(self._config, f"{names[0]} is {value}, expected a whole number")
        return int(value)

    def table(self, name: str) -> dict[str, Any]:
        """An object among the fields of ``config.json``, empty where there is none."""
        value = self.config.get(name)
        if value is not None and not isinstance(value, dict):
            raise ArtifactError.at(self._config, f"{name} is {value!r}, expected an object")
        return value or {}

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def bytes_as_float32(self) -> int:
        """Size of all tensors in float32."""
        return sum(4 * math.prod(shape) for _, _, shape, _ in self._places.values())

    def expect(self, name: str, *shape: int) -> None:
        """Raises ``ArtifactError`` if there is no such tensor of that shape."""
        if name not in self._places:
            listed = ", ".join(sorted(self._places)[:8])
            raise ArtifactError.at(self.folder, f"tensor {name!r} is missing; found {listed}, ...")
        file, _, found, _ = self._places[name]
        if tuple(found) != shape:
            raise ArtifactError.at(file, f"tensor {name!r} has the shape {found}, expected {list(shape)}")

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A tensor as float32, of that shape."""
        self.expect(name, *shape)
        file, kind, _, start = self._places[name]
        values = np.empty(math.prod(shape), dtype=np.float32)
        with file.open("rb") as stream:
            stream.seek(start)
            for rows in row_blocks(values):
                part = values[rows]
                raw = np.fromfile(stream, dtype=_TYPES[kind], count=part.size)
                if raw.size != part.size:
                    raise ArtifactError.at(file, f"tensor {name!r} is truncated")
                if kind == "BF16":
                    # The upper half of a float32.
                    np.left_shift(raw, 16, out=part.view(np.uint32), dtype=np.uint32)
                else:
                    part[:] = raw
                if not np.isfinite(part).all():
                    raise ArtifactError.at(file, f"tensor {name!r} has values that are not finite")
        return values.reshape(shape)

    def tokenizer(self) -> bytes:
        """The text of ``tokenizer.json``, with the normalization of ``tokenizer_config.json``."""
        file = self.folder / "tokenizer.json"
        if not file.is_file():
            raise ArtifactError.at(
                file, "missing; AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers writes it"
            )
        content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
        return effective_tokenizer(file, content, self.optional_json("tokenizer_config.json"))

    def max_tokens(self, positions: int | None) -> int:
        """The limit at which the tokenizer truncates: its own, that of the position table if there is one, that of artifacts."""
        own = self.optional_json("tokenizer_config.json").get("model_max_length")
        limits = [_MAX_TOKENS] if positions is None else [positions, _MAX_TOKENS]
        if own is not None:
            if isinstance(own, bool) or not isinstance(own, (int, float)) or not own >= 1:
                file = self.folder / "tokenizer_config.json"
                raise ArtifactError.at(file, f"model_max_length is {own!r}, expected a number of tokens")
            # "No limit" is written as 1e30.
            limits.append(int(min(own, _MAX_TOKENS)))
        return min(limits)

    def refuse_left_truncation(self) -> None:
        """Raises ``ArtifactError`` where the tokenizer keeps the end of a long prompt: routers keep its beginning."""
        # As transformers decides: its own settings first, then what the tokenizer was stored with.
        side, field = self.optional_json("tokenizer_config.json").get("truncation_side"), "truncation_side"
        file = self.folder / "tokenizer_config.json"
        if side is None:
            stored = self.json("tokenizer.json").get("truncation")
            side, field = stored.get("direction") if isinstance(stored, dict) else None, "direction of truncation"
            file = self.folder / "tokenizer.json"
        if str(side).lower() == "left":
            raise ArtifactError.at(
                file,
                f"{field} is {side!r}, expected 'right': a router reads the beginning of a long prompt; if that is intended, "
                "set it to 'right'",
            )

    def _files(self) -> list[Path]:
        index = self.folder / "model.safetensors.index.json"
        single = self.folder / "model.safetensors"
        # As in transformers: an index next to a single file is left over from an earlier, larger version.
        if index.exists() and not single.is_file():
            shards = self.json(index.name).get("weight_map")
            names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
            if not names or any(Path(name).name != name for name in names):
                raise ArtifactError.at(index, "expected a weight_map of tensors to files of this folder")
            return [self.folder / name for name in names]
        return [single]

    def _read_header(self, file: Path) -> None:
        if not file.is_file():
            raise ArtifactError.at(file, "missing, expected the weights (pickled weights, *.bin, are not read)")
        size = file.stat().st_size
        try:
            with file.open("rb") as stream:
                refuse_lfs_pointer(file, stream.read(100))
                stream.seek(0)
                length = int.from_bytes(stream.read(8), "little")
                if length > min(size, 100 << 20):
                    raise ValueError(f"a header of {length} bytes")
                header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                start, end = (8 + length + int(offset) for offset in entry["data_offsets"])
                kind, shape = str(entry["dtype"]), [int(n) for n in entry["shape"]]
                if kind not in _TYPES:
                    continue  # Buffers of integers, such as position numbers.
                if min(shape, default=1) < 0 or not 8 + length <= start <= end <= size:
                    raise ValueError(f"tensor {name!r} lies outside of the file")
                if end - start != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
                    raise ValueError(f"tensor {name!r} of shape {shape} has {end - start} bytes")
                self._places[_current_name(name)] = (file, kind, shape, start)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ArtifactError.at(file, f"not a safetensors file: {error}") from error


def _current_name(name: str) -> str:
    """Older checkpoints name the parts of a LayerNorm gamma and beta; transformers renames them when it loads them."""
    stem, dot, last = name.rpartition(".")
    return stem + dot + {"gamma": "weight", "beta": "bias"}.get(last, last)
