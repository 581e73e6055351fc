"""From a request to the models that may answer it: by name, by what it continues, or by a router."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turnout.serve.decisions.planning import Plan, Routed, candidates, decide, needs, plain, read, serving, spec_of
from turnout.serve.decisions.pool_planner import PoolQuestion, does_not_get_on, is_helper, objective_of
from turnout.serve.decisions.switching import gain_of, pays
from turnout.serve.dialects import Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import client_of
from turnout.serve.routers.pools import LoadedPool
from turnout.serve.sessions.cached import Cached

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Model, Snapshot
    from turnout.serve.http.asgi import Scope
    from turnout.serve.state import State


async def plan(request: Mapping[str, Any], size: int, scope: Scope, dialect: Dialect, state: State) -> Plan:
    """Plans a request.

    The first rule that applies chooses:

    1. the plain name of a model;
    2. the model that made what the request continues (``previous_response_id``, ``conversation``);
    3. the model that began the turn, or the conversation; the strong model where the weak one does not get on;
    4. the weak model for a helper call of an agent;
    5. the router, if a change of the model is worth the cache that is lost.

    Args:
        request: The body.
        size: The body's bytes.
        scope: Of ASGI.
        dialect: What the body is written in.
        state: The server's state.

    Returns:
        Who answers.

    Raises:
        ApiError: 400 for what cannot be routed, 404 for a model that is not here, 429 or 500 from the router.
    """
    snapshot, sessions = state.snapshot, state.sessions
    spec = spec_of(request.get("model"), snapshot)
    if spec is None:
        await _maker(
            request, client_of(scope), dialect, state
        )  # Whose answers it refers to counts for plain names too.
        needed = await needs(request, size, dialect)
        return Plan((plain(str(request["model"]), needed, snapshot, dialect),))
    between = spec[1]
    objective = objective_of(spec[0], scope, between if isinstance(between, LoadedPool) else None)
    if isinstance(between, LoadedPool):
        question = PoolQuestion(request, size, dialect, between, objective, snapshot)
        return await _plan_in_pool(question, scope, state)
    pair = between
    if maker := await _maker(request, client_of(scope), dialect, state):
        return _with_maker(maker, (pair.strong, pair.weak), await needs(request, size, dialect), dialect, state)
    found = await read(
        request, size, snapshot, dialect, lambda digest: sessions.of(request, dialect, scope, digest, snapshot.harness)
    )
    name, cached = await sessions.recall(found.session)
    begun = next((model for model in (pair.strong, pair.weak) if model.name == name), None)
    if found.session is not None and begun is not None:
        rule = found.session.kind
        if begun is pair.weak and await does_not_get_on(request, size, dialect, snapshot):
            begun, rule = pair.strong, "stall"
        return candidates(pair, begun, found.needs, dialect, snapshot, rule=rule, session=found.session)
    if is_helper(request, dialect, snapshot.settings.agents.helper_max_tokens):
        return candidates(pair, pair.weak, found.needs, dialect, snapshot, rule="helper")
    routed = await decide(found.prompt, found.prompt_sha256, spec[0], pair, snapshot, dialect.conversation)
    if kept := _cheaper_to_keep(routed, cached, snapshot):
        return candidates(
            pair, kept, found.needs, dialect, snapshot, routed=routed, rule="cache", session=found.session
        )
    return candidates(pair, routed.chosen, found.needs, dialect, snapshot, routed=routed, session=found.session)


async def _plan_in_pool(question: PoolQuestion, scope: Scope, state: State) -> Plan:
    """The same rules with a pool: the next more likely model in place of the strong one, the cheapest one in place of the weak one."""
    request, dialect, snapshot = question.body, question.dialect, question.snapshot
    if maker := await _maker(request, client_of(scope), dialect, state):
        # Other models have not been compared with the pool's limits.
        planned = _with_maker(maker, (), await needs(request, question.size, dialect), dialect, state)
        return replace(planned, charge=question.charge(0.0))
    found = await read(
        request,
        question.size,
        snapshot,
        dialect,
        lambda digest: state.sessions.of(request, dialect, scope, digest, snapshot.harness),
    )
    kept, cached = await state.sessions.recall(found.session)
    # A pool weighs caches itself.
    tokens = cached.tokens_left(snapshot.settings.switching, time.time()) if cached is not None else 0
    return await question.plan(found, kept, {cached.model: tokens} if cached is not None and tokens else {})


def _cheaper_to_keep(routed: Routed, cached: Cached | None, snapshot: Snapshot) -> Model | None:
    """The model of the turn before, where the one that was decided for is not worth its cache; ``None`` otherwise."""
    settings = snapshot.settings
    pair = (routed.pair.strong, routed.pair.weak)
    kept = next((one for one in pair if cached is not None and one.name == cached.model), None)
    if not settings.switching.error_cost or cached is None or kept is None or kept is routed.chosen:
        return None
    saving = settings.cache_saving_of(kept.name)
    return None if pays(gain_of(routed, settings.switching), cached, saving, settings.switching, time.time()) else kept


async def _maker(request: Mapping[str, Any], client: str, dialect: Dialect, state: State) -> Model | None:
    """The model that made an answer to which a request refers.

    Raises:
        ApiError: 404 for what another client made, or for a response that nobody is known to have made where clients have keys; 400 there for
            what is no id.
    """
    if state.needs_key:
        dialect.check_references(request)
    ids = dialect.continues(request)
    found = await state.made.of(ids)
    for name, made in zip(ids, found, strict=True):
        # A conversation may have been made elsewhere: it belongs to the client that names it first.
        is_unknown = made is None and state.needs_key and name == request.get("previous_response_id")
        if is_unknown or (made is not None and made.client != client):
            raise ApiError(404, f"unknown response or conversation {name!r}", code="response_not_found")
    known = next((made for made in found if made is not None), None)
    return known.model_in(state.snapshot) if known else None


def _with_maker(maker: Model, models: Iterable[Model], needed: frozenset[str], dialect: Dialect, state: State) -> Plan:
    """The maker, and models at the same upstream: others do not have what the request refers to."""
    others = (one for one in models if one is not maker and one.upstream is maker.upstream)
    able = tuple(serving((maker, *others), needed, dialect))
    return Plan(able if state.snapshot.settings.server.fallback else able[:1], rule="response")
