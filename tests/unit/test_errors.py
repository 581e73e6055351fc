"""What cannot be routed, and what cannot be opened: the exception and a message that helps."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout

NAN = float("nan")
INFINITY = float("inf")


def test_every_error_is_a_router_error_and_what_python_calls_it() -> None:
    builtin = {
        turnout.InvalidInputError: ValueError,
        turnout.InvalidTypeError: TypeError,
        turnout.ConfigError: ValueError,
        turnout.ArtifactError: Exception,
        turnout.PoolError: ValueError,
        turnout.DeviceError: Exception,
        turnout.EngineError: Exception,
        turnout.InferenceError: Exception,
        turnout.OverloadedError: Exception,
        turnout.DeadlineExceededError: TimeoutError,
        turnout.WorkerStoppedError: Exception,
        turnout.OutcomesError: Exception,
    }
    for error, other in builtin.items():
        assert issubclass(error, turnout.RouterError)
        assert issubclass(error, other)
        assert (error.__module__, getattr(turnout, error.__name__)) == ("turnout", error)
        assert error.__doc__
    assert not issubclass(turnout.RouterError, (ValueError, TypeError))
    assert set(builtin) == set(turnout.RouterError.__subclasses__())


# Prompts.


@pytest.mark.parametrize("prompt", [b"bytes", 5, 1.5, object(), bytearray(b"a"), np.array("a"), True])
@pytest.mark.parametrize("method", ["route", "win_rate", "embed", "model_scores", "explain"])
def test_a_prompt_that_is_no_str_is_an_invalid_type(router: turnout.Router, method: str, prompt: Any) -> None:
    with pytest.raises(turnout.InvalidTypeError, match=f"prompt must be str, not {type(prompt).__name__}"):
        getattr(router, method)(prompt)


@pytest.mark.parametrize("method", ["route", "win_rate", "model_scores", "explain"])
def test_a_batch_is_not_a_prompt(router: turnout.Router, method: str) -> None:
    with pytest.raises(turnout.InvalidTypeError, match="prompt must be str, not list"):
        getattr(router, method)(["a"])


@pytest.mark.parametrize("prompt", ["\ud800", "a\udfffb", "x" * 10_000 + "\udc00"])
@pytest.mark.parametrize("method", ["route", "win_rate", "embed", "model_scores", "explain"])
def test_a_lone_surrogate_is_invalid_input_with_the_remedy(router: turnout.Router, method: str, prompt: str) -> None:
    with pytest.raises(turnout.InvalidInputError, match=r'encode\("utf-8", "replace"\)'):
        getattr(router, method)(prompt)
    assert router.route(prompt.encode("utf-8", "replace").decode())


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "\n",
        "\x00",
        "a\x00b",
        "\u200b",
        "\ufeff",
        "\U0010ffff",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
def test_empty_and_odd_prompts_are_legal(router: turnout.Router, prompt: str) -> None:
    decision = router.route(prompt)
    assert decision == router.route_batch([prompt])[0]
    assert 0.0 <= decision.win_rate <= 1.0


def test_a_subclass_of_str_is_a_prompt(router: turnout.Router) -> None:
    class Prompt(str):
        __slots__ = ()

    assert router.route(Prompt("what is")) == router.route("what is")
    assert router.route_batch(np.array(["what is", "the sum"])) == router.route_batch(["what is", "the sum"])


def test_a_megabyte_is_a_prompt(router: turnout.Router) -> None:
    for unit in ("what is the sum? ", "x", " ", "中", "!", "a\u0301", "[SEP]"):
        prompt = unit * (1_000_000 // len(unit))
        assert router.route(prompt) == router.route_batch([prompt])[0]


def test_no_argument_or_two_is_an_invalid_type(router: turnout.Router) -> None:
    embedding = np.zeros(12, np.float32)
    for arguments in ({}, {"prompt": "a", "embedding": embedding}, {"prompt": None, "embedding": None}):
        for method in (router.route, router.win_rate):
            with pytest.raises(turnout.InvalidTypeError, match="give either a prompt or embedding="):
                method(**arguments)
    for arguments in ({}, {"prompts": ["a"], "embeddings": embedding[None]}):
        with pytest.raises(turnout.InvalidTypeError, match="give either prompts or embeddings="):
            router.win_rates(**arguments)


# Sequences of prompts.


def test_any_iterable_of_str_is_a_batch(router: turnout.Router) -> None:
    texts = ["what", "is", "中文", ""]
    expected = router.route_batch(texts)
    assert [decision.win_rate for decision in expected] == [router.win_rate(text) for text in texts]
    for batch in (tuple(texts), iter(texts), (text for text in texts), dict.fromkeys(texts), np.array(texts, object)):
        assert router.route_batch(batch) == expected
    assert router.win_rates(iter(texts)).tolist() == [decision.win_rate for decision in expected]
    assert router.route_batch([]) == []
    assert router.win_rates(()).shape == (0,)


@pytest.mark.parametrize("method", ["route_batch", "win_rates"])
def test_a_batch_that_is_none_is_told_what_is_expected(router: turnout.Router, method: str) -> None:
    call = getattr(router, method)
    with pytest.raises(turnout.InvalidTypeError, match="not one str"):
        call("one prompt")
    for other in (5, object(), 1.5):
        with pytest.raises(turnout.InvalidTypeError, match="must be a sequence of str"):
            call(other)
    for wrong, name in [(5, "int"), (None, "NoneType"), (b"c", "bytes"), (["c"], "list")]:
        with pytest.raises(turnout.InvalidTypeError, match=rf"prompts\[2\] must be str, not {name}"):
            call(["a", "b", wrong, "d"])
    with pytest.raises(turnout.InvalidTypeError, match=r"prompts\[0\] must be str, not int"):
        call(b"bytes")
    with pytest.raises(turnout.InvalidInputError, match=r"prompts\[1\] has no UTF-8 form"):
        call(["a", "\ud800"])


def test_an_error_inside_an_iterator_is_passed_on(router: turnout.Router) -> None:
    def failing() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        router.route_batch(failing())


# Thresholds.


@pytest.mark.parametrize("threshold", [-0.001, 1.001, -1, 2, NAN, INFINITY, -INFINITY, 1e308, np.float64(-1)])
def test_a_threshold_outside_zero_to_one_is_invalid_input(
    router: turnout.Router, artifact: Path, threshold: float
) -> None:
    expected = r"threshold is .*, expected a number in 0..=1"
    calls: list[Callable[[], Any]] = [
        lambda: router.route("a", threshold=threshold),
        lambda: router.route_batch(["a"], threshold=threshold),
        lambda: router.route_batch([], threshold=threshold),
        lambda: router.explain("a", threshold=threshold),
        lambda: router.route(embedding=np.zeros(12, np.float32), threshold=threshold),
        lambda: turnout.load(artifact, threshold=threshold),
    ]
    for call in calls:
        with pytest.raises(turnout.InvalidInputError, match=expected):
            call()


@pytest.mark.parametrize("threshold", ["0.5", b"0.5", [0.5], object(), 1j, True, False, np.True_])
def test_a_threshold_that_is_not_a_number_is_an_invalid_type(
    router: turnout.Router, artifact: Path, threshold: Any
) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: router.route("a", threshold=threshold),
        lambda: router.route_batch(["a"], threshold=threshold),
        lambda: router.explain("a", threshold=threshold),
        lambda: turnout.load(artifact, threshold=threshold),
        lambda: turnout.decide(0.5, threshold),
        lambda: turnout.choose_strong(np.zeros(3), threshold),
    ]
    for call in calls:
        with pytest.raises(turnout.InvalidTypeError, match="threshold must be a number, not"):
            call()
    for call in (
        lambda: router.route("a", strong_share=threshold),
        lambda: turnout.threshold_for_share([0.0, 1.0], threshold),
    ):
        with pytest.raises(turnout.InvalidTypeError, match="strong_share must be a number, not"):
            call()


@pytest.mark.parametrize("threshold", [0, 1, 0.0, 1.0, np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_any_number_in_zero_to_one_is_a_threshold(router: turnout.Router, artifact: Path, threshold: Any) -> None:
    decision = router.route("what is", threshold=threshold)
    assert decision.threshold == float(threshold)
    assert decision.is_strong == (decision.win_rate >= float(threshold))
    assert turnout.load(artifact, threshold=threshold).route("what is") == decision


def test_none_is_the_routers_own_threshold(artifact: Path) -> None:
    router = turnout.load(artifact, threshold=0.25)
    assert router.route("what is", threshold=None).threshold == router.threshold == 0.25
    assert turnout.load(artifact, threshold=None).threshold == 0.5


# Embeddings.


def _unaligned() -> np.ndarray[Any, Any]:
    return np.frombuffer(b"\0" * 49, np.uint8)[1:].view("<f4")


@pytest.mark.parametrize(
    ("embedding", "error", "message"),
    [
        ([0.0] * 12, turnout.InvalidTypeError, "not list"),
        ((0.0,) * 12, turnout.InvalidTypeError, "not tuple"),
        (b"\0" * 48, turnout.InvalidTypeError, "not bytes"),
        (memoryview(bytes(48)).cast("f"), turnout.InvalidTypeError, "not memoryview"),
        ("0" * 12, turnout.InvalidTypeError, "not str"),
        (np.zeros(12), turnout.InvalidTypeError, r'not float64; convert it with .astype\("float32"\)'),
        (np.zeros(12, np.float16), turnout.InvalidTypeError, "not float16"),
        (np.zeros(12, np.int32), turnout.InvalidTypeError, "not int32"),
        (np.zeros(12, ">f4"), turnout.InvalidTypeError, "not >f4"),
        (np.zeros(12, object), turnout.InvalidTypeError, "not object"),
        (np.zeros(12, np.complex64), turnout.InvalidTypeError, "not complex64"),
        (np.float32(0.0), turnout.InvalidTypeError, "not float32"),
        (np.zeros((), np.float32), turnout.InvalidInputError, r"found shape \[\]"),
        (np.zeros((1, 12), np.float32), turnout.InvalidInputError, r"found shape \[1, 12\]"),
        (np.zeros((12, 1), np.float32), turnout.InvalidInputError, r"found shape \[12, 1\]"),
        (np.zeros(24, np.float32)[::2], turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (np.zeros(12, np.float32)[::-1], turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (np.broadcast_to(np.float32(0), (12,)), turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (_unaligned(), turnout.InvalidInputError, "not aligned"),
        (np.zeros(11, np.float32), turnout.InvalidInputError, "has 11 numbers, expected 12"),
        (np.zeros(13, np.float32), turnout.InvalidInputError, "has 13 numbers, expected 12"),
        (np.zeros(0, np.float32), turnout.InvalidInputError, "has 0 numbers, expected 12"),
        (np.full(12, NAN, np.float32), turnout.InvalidInputError, "NaN at position 0, expected finite numbers"),
        (np.array([0] * 7 + [INFINITY] + [0] * 4, np.float32), turnout.InvalidInputError, "inf at position 7"),
        (np.array([0] * 11 + [-INFINITY], np.float32), turnout.InvalidInputError, "-inf at position 11"),
    ],
)
def test_an_embedding_that_cannot_be_routed(
    router: turnout.Router, embedding: Any, error: type[Exception], message: str
) -> None:
    for method in (router.route, router.win_rate):
        with pytest.raises(error, match=message):
            method(embedding=embedding)


@pytest.mark.parametrize(
    ("embeddings", "error", "message"),
    [
        ([[0.0] * 12], turnout.InvalidTypeError, "not list"),
        (np.zeros((3, 12)), turnout.InvalidTypeError, "not float64"),
        (np.zeros(12, np.float32), turnout.InvalidInputError, r"of shape \[n, d\], found shape \[12\]"),
        (np.zeros((1, 3, 12), np.float32), turnout.InvalidInputError, "found shape"),
        (np.zeros((3, 11), np.float32), turnout.InvalidInputError, "embeddings have 11 columns, expected 12"),
        (np.zeros((0, 11), np.float32), turnout.InvalidInputError, "embeddings have 11 columns"),
        (np.zeros((3, 0), np.float32), turnout.InvalidInputError, "embeddings have 0 columns"),
        (np.zeros((3, 12), np.float32, order="F"), turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (np.zeros((6, 12), np.float32)[::2], turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (np.zeros((3, 24), np.float32)[:, :12], turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (np.zeros((12, 3), np.float32).T, turnout.InvalidInputError, "numpy.ascontiguousarray"),
        (_unaligned().reshape(1, 12), turnout.InvalidInputError, "not aligned"),
        (
            np.diag(np.full(12, NAN, np.float32))[2:5],
            turnout.InvalidInputError,
            "row 0 of the embeddings holds NaN at position 2",
        ),
    ],
)
def test_embeddings_that_cannot_be_routed(
    router: turnout.Router, embeddings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        router.win_rates(embeddings=embeddings)


def test_readonly_mapped_and_empty_arrays_are_embeddings(router: turnout.Router, tmp_path: Path) -> None:
    matrix = np.random.default_rng(1).normal(size=(5, 12)).astype(np.float32)
    expected = router.win_rates(embeddings=matrix)
    frozen = matrix.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=matrix.shape)
    mapped[:] = matrix
    for array in (frozen, mapped, matrix.view(), np.frombuffer(matrix.tobytes(), np.float32).reshape(5, 12)):
        assert np.array_equal(router.win_rates(embeddings=array), expected)
        assert router.win_rate(embedding=array[4]) == expected[4]
    assert router.win_rates(embeddings=np.zeros((0, 12), np.float32)).shape == (0,)
    assert np.array_equal(router.win_rates(embeddings=np.asfortranarray(matrix[:1])), expected[:1])


def test_numbers_that_overflow_are_no_decision(router: turnout.Router) -> None:
    largest = np.finfo(np.float32).max
    embedding = np.where(np.arange(12) % 2, largest, -largest).astype(np.float32)
    with contextlib.suppress(turnout.InferenceError):
        assert 0.0 <= router.win_rate(embedding=embedding) <= 1.0


# Opening.


@pytest.mark.parametrize("name", ["strong", "weak"])
def test_a_model_name_is_a_str_that_is_not_empty(artifact: Path, name: str) -> None:
    with pytest.raises(turnout.ConfigError, match="empty"):
        turnout.load(artifact, **{name: ""})
    with pytest.raises(TypeError, match="str"):
        turnout.load(artifact, **{name: 5})
    with pytest.raises(ValueError, match="surrogates"):
        turnout.load(artifact, **{name: "\ud800"})
    assert getattr(turnout.load(artifact, **{name: "any\x00thing \U0001f600"}), name) == "any\x00thing \U0001f600"


def test_options_that_make_no_sense_are_refused(artifact: Path) -> None:
    for engine in ("", "Native", "onnx", "\x00"):
        with pytest.raises(turnout.ConfigError, match='expected "auto", "native" or "onnxruntime"'):
            turnout.load(artifact, engine=engine)
    for threads in (-1, 100_000, -(2**62)):
        with pytest.raises(turnout.ConfigError, match="threads is"):
            turnout.load(artifact, threads=threads)
    for wrong in ("2", True, 1.5):
        with pytest.raises(turnout.InvalidTypeError, match="threads must be an int"):
            turnout.load(artifact, threads=wrong)  # type: ignore[arg-type]
    with pytest.raises(turnout.InvalidTypeError, match='unknown option "unheard_of"'):
        turnout.Router(artifact, unheard_of=1)
    with pytest.raises(TypeError):
        turnout.load(artifact, unheard_of=1)  # type: ignore[call-arg]


def test_options_that_a_kind_or_device_does_not_have_are_refused(artifact: Path) -> None:
    for option, value in (("index", "nope.faiss"), ("index", "exact"), ("tiers", {"x": 0})):
        with pytest.raises(turnout.ConfigError, match=f'{option} is an option of routers of kind "sw_ranking"'):
            turnout.load(artifact, **{option: value})
    with pytest.raises(turnout.ConfigError, match='tiers names "x", expected the strong or the weak model'):
        turnout.load("sw_ranking", tiers={"x": 0})
    for option, value in (("device_memory_bytes", 1 << 30), ("tensorrt_cache", "cache")):
        with pytest.raises(turnout.ConfigError, match=f"{option} has no effect on device cpu"):
            turnout.load(artifact, **{option: value})


@pytest.mark.parametrize("path", ["/nowhere/at/all", "", "a\x00b", "router.json", "x" * 5000])
def test_a_folder_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(turnout.ArtifactError, match=r"router\.json: file: |no such artifact folder"):
        turnout.load(path)


@pytest.mark.parametrize("path", [5, 1.5, ["a"]])
def test_a_path_of_another_type_is_a_type_error(path: Any) -> None:
    with pytest.raises(TypeError, match=r"os\.PathLike"):
        turnout.load(path)


def test_damaged_artifacts_name_the_file_and_the_field(
    artifact: Path, tmp_path: Path, edit_manifest: Callable[..., None]
) -> None:
    def damaged(change: Callable[[Path], Any]) -> str:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(artifact, folder)
        change(folder)
        with pytest.raises(turnout.ArtifactError) as error:
            turnout.load(folder)
        return str(error.value).removeprefix(f"{folder}/")

    def edited(change: Callable[[dict[str, Any]], Any]) -> str:
        return damaged(lambda folder: edit_manifest(folder, change))

    assert damaged(lambda folder: (folder / "model.onnx").unlink()).startswith("model.onnx: file: ")
    assert damaged(lambda folder: (folder / "tokenizer.json").write_bytes(b"{}")).startswith("tokenizer.json: size: ")
    assert damaged(lambda folder: (folder / "router.json").write_text("{")).startswith("router.json: json: ")
    assert edited(lambda manifest: manifest.update(format_version=3)).startswith("router.json: format_version: 3, ")
    assert edited(lambda manifest: manifest.update(graph="../model.onnx")).startswith("router.json: graph: ")
    assert edited(lambda manifest: manifest["encoder"].update(dim=13)).startswith("router.json: encoder.dim: 13, ")
    assert edited(lambda manifest: manifest["models"].append("a fifth")).startswith("router.json: models: 5 names, ")
