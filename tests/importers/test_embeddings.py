"""Embedding functions and endpoints behind a router, with no network."""

from __future__ import annotations

import base64
import json
import threading

import httpx
import numpy as np
import pytest

import turnout
from turnout.embeddings.client import EmbeddingClient
from turnout.embeddings.router import with_embeddings
from turnout.routers.mf.import_ import import_mf, tiny_checkpoint


def embed(prompts):
    return np.array([[len(prompt) / 10, prompt.count("e")] for prompt in prompts])


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mf")
    return turnout.load(import_mf(tiny_checkpoint(folder / "checkpoint"), folder / "artifact"))


class Endpoint:
    """An OpenAI-compatible endpoint that first fails as it is told to."""

    def __init__(self, failures=(), form="list"):
        self.failures = list(failures)
        self.form = form
        self.requests = []
        self.keys = []
        self.organizations = []

    def __call__(self, request):
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure, json={"error": "not now"}, headers={"retry-after": "0"})
        body = json.loads(request.content)
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization"))
        self.organizations.append(request.headers.get("openai-organization"))
        rows = embed(body["input"]).astype("<f4")
        shown = [base64.b64encode(row.tobytes()).decode() if self.form == "base64" else row.tolist() for row in rows]
        data = [{"index": place, "embedding": row} for place, row in enumerate(shown)]
        return httpx.Response(200, json={"data": data[::-1]})

    def client(self, **options):
        return EmbeddingClient(
            "http://here/v1/",
            "m",
            http_client=httpx.Client(transport=httpx.MockTransport(self)),
            **{"dim": 2, **options},
        )


def answering(**options):
    return httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, **options)))


PROMPTS = ["three e's here", "none", "a", "none"]


def test_a_function_makes_a_router_of_prompts(router):
    attached = turnout.with_embeddings(router, embed)
    expected = router.win_rates(embeddings=embed(PROMPTS).astype(np.float32))
    np.testing.assert_array_equal(attached.win_rates(PROMPTS), expected)
    assert attached.win_rate(PROMPTS[0]) == expected[0]
    decisions = attached.route_batch(PROMPTS, threshold=0.5)
    assert decisions == [attached.route(prompt, threshold=0.5) for prompt in PROMPTS]
    assert [one.is_strong for one in decisions] == [bool(rate >= 0.5) for rate in expected]
    assert (attached.strong, attached.models) == (router.strong, router.models)
    assert not attached.is_microseconds


async def test_the_asynchronous_answer_is_the_same(router):
    attached = with_embeddings(router, embed)
    assert await attached.aroute("some prompt") == attached.route("some prompt")


def test_embeddings_of_another_shape_are_refused(router, tiny):
    with pytest.raises(turnout.InvalidInputError, match=r"returned shape \(1, 3\), expected \(1, 2\)"):
        with_embeddings(router, lambda prompts: np.zeros((len(prompts), 3))).route("x")
    with pytest.raises(turnout.ConfigError, match="computes its own embeddings"):
        with_embeddings(tiny, embed)


@pytest.mark.parametrize("form", ["list", "base64"])
def test_an_endpoint_embeds_in_batches_in_the_order_of_prompts(router, form):
    endpoint = Endpoint(form=form)
    client = endpoint.client(batch=2)
    np.testing.assert_allclose(client(PROMPTS), embed(PROMPTS), rtol=1e-6)
    assert [one["input"] for one in endpoint.requests] == [PROMPTS[:2], PROMPTS[2:3]]
    assert all(one["model"] == "m" for one in endpoint.requests)
    assert with_embeddings(router, client).route("none").model in (router.strong, router.weak)


def test_what_is_known_is_not_asked_again(tmp_path):
    endpoint = Endpoint()
    with endpoint.client(cache_file=tmp_path / "cache.sqlite") as client:
        client(PROMPTS)
        client(PROMPTS)
    assert len(endpoint.requests) == 1
    with endpoint.client(cache_file=tmp_path / "cache.sqlite") as client:
        np.testing.assert_allclose(client(PROMPTS), embed(PROMPTS), rtol=1e-6)
    assert len(endpoint.requests) == 1
    forgetful = endpoint.client(cache_prompts=0)
    forgetful(["a"])
    forgetful(["a"])
    assert len(endpoint.requests) == 3


def test_passing_failures_are_tried_again_and_lasting_ones_told(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    endpoint = Endpoint([503, 429, httpx.ConnectTimeout("slow")])
    assert endpoint.client()(["a"]).shape == (1, 2)
    with pytest.raises(turnout.InferenceError, match="refused the last of at most 3 attempts, status 500"):
        Endpoint([500] * 3).client(retries=2)(["a"])
    stubborn = Endpoint([401, 200])
    with pytest.raises(turnout.InferenceError, match=r"refused .* status 401"):
        stubborn.client()(["a"])
    assert len(stubborn.failures) == 1


def test_the_key_comes_from_the_environment(monkeypatch):
    endpoint = Endpoint()
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    client = endpoint.client(key_variable="SOME_KEY")
    client(["a"])
    monkeypatch.setenv("SOME_KEY", "secret")
    client(["b"])
    # The environment's key for OpenAI, and its organization, are for OpenAI.
    assert endpoint.keys == [None, "Bearer secret"]
    assert endpoint.organizations == [None, None]
    assert "secret" not in repr(client)


def test_answers_that_are_none_are_told():
    with pytest.raises(turnout.InferenceError, match="lengths \\[2\\], expected 1 of length 3"):
        Endpoint().client(dim=3)(["a"])
    strange = EmbeddingClient("http://here", "m", http_client=answering(json={"x": 1}))
    with pytest.raises(turnout.InferenceError, match="not OpenAI's format"):
        strange(["a"])
    page = EmbeddingClient("http://here", "m", http_client=answering(text="<html>"))
    with pytest.raises(turnout.InferenceError, match="not OpenAI's format"):
        page(["a"])
    with pytest.raises(turnout.InvalidInputError, match=r"prompts\[1\] is empty"):
        strange(["a", ""])


def test_threads_share_a_client(tmp_path):
    client = Endpoint().client(cache_file=tmp_path / "cache.sqlite")
    barrier, found = threading.Barrier(6), {}

    def work(name):
        barrier.wait()
        found[name] = client([f"{name} {row % 7}" for row in range(50)])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, rows in found.items():
        np.testing.assert_allclose(rows, embed([f"{name} {row % 7}" for row in range(50)]), rtol=1e-6)
