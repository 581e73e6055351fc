"""What ``turnout serve --check`` prints."""

from __future__ import annotations

from collections.abc import Iterator

from turnout.serve.decisions.snapshot import Snapshot
from turnout.serve.routers.loaded import LoadedRouter
from turnout.serve.settings.tables import LogSettings


def lines(snapshot: Snapshot) -> Iterator[str]:
    """What would run, line by line, without secrets."""
    server = snapshot.settings.server
    yield f"listen      http://{server.host}:{server.port}"
    yield f"admin       http://{server.admin_host}:{server.admin_port}" if server.admin_port else "admin       none"
    if snapshot.pair is not None:
        yield f"pair        {snapshot.pair.strong.name} (strong), {snapshot.pair.weak.name} (weak); fallback {'on' if server.fallback else 'off'}"
    yield from _pool_lines(snapshot)
    for name, router in snapshot.routers.items():
        source = f"artifact {router.artifact_hash[:16]}…" if router.artifact_hash else type(router.router).__name__
        yield f"router      {name}: {source}, threshold {router.threshold:g}"
        yield from _cascade_lines(snapshot, router)
    for name, alias in snapshot.aliases.items():
        if alias.model:
            yield f"alias       {name}: {alias.model}"
            continue
        pair = snapshot.alias_pairs[name]
        number = (
            f"share {alias.strong_share:g}"
            if alias.strong_share is not None
            else f"threshold {_threshold(snapshot, name):g}"
        )
        yield f"alias       {name}: router {alias.router}, {number}, {pair.strong.name} / {pair.weak.name}"
    for name, model in snapshot.models.items():
        serves = "everything" if model.capabilities is None else ", ".join(["text", *sorted(model.capabilities)])
        yield f"model       {name}: {model.upstream_name} at {model.upstream.name}, speaks {model.speaks}, serves {serves}"
    for name, upstream in snapshot.upstreams.items():
        key = "with a key" if upstream.key else "no key"
        # Without user and password of the proxy.
        proxy = f", through the proxy {upstream.proxy.host}:{upstream.proxy.port}" if upstream.proxy else ""
        yield f"upstream    {name}: {upstream.settings.base_url}, {key}{proxy}"
    yield f"context     {server.context}"
    yield f"client keys {'required' if server.client_keys_file else 'none: any client that reaches the address can use the server'}"
    sessions, log = snapshot.settings.sessions, snapshot.settings.log
    yield f"sessions    stay: {sessions.stay}, kept in {sessions.store or 'the memory of the process'}"
    yield from _shadow_lines(snapshot)
    yield f"log         {_log_text(log)}"


def _log_text(log: LogSettings) -> str:
    if not log.path:
        return "none"
    signed = ", signed" if log.hmac_key_env or log.hmac_key_file else ""
    return f"{log.path} ({log.format}{signed})"


def _shadow_lines(snapshot: Snapshot) -> Iterator[str]:
    """Which requests are compared with which models, by whom, and what that may cost."""
    shadow = snapshot.settings.shadow
    if shadow.share:
        yield (
            f"shadow      {shadow.share:.2%} of requests without tools and media also to {', '.join(shadow.models)}; "
            f"judge {shadow.judge}; at most {shadow.budget_per_day:g} a day"
        )


def _cascade_lines(snapshot: Snapshot, router: LoadedRouter) -> Iterator[str]:
    """The band of a cascade, and by which signals answers in each dialect are judged."""
    if router.cascade is None or snapshot.pair is None:
        return
    cascade, policy = router.cascade, router.cascade.judge.policy
    yield (
        f"cascade     {router.name}: judge {cascade.path}, win rates from {policy.low:g} to {min(policy.high, 1.0):g}; "
        f"holds {cascade.hold_tokens} tokens or {cascade.hold_s * 1e3:g} ms of a stream"
    )
    for dialect in sorted(snapshot.pair.weak.dialects):
        signals = ", ".join([*cascade.signals(dialect), "the prompt's win rate"])
        yield f"signals     {router.name}: {dialect}: {signals}; without log-probabilities: {', '.join(cascade.bare_signals) or 'none'}"


def _pool_lines(snapshot: Snapshot) -> Iterator[str]:
    """Objective, limits and routers of the pool, and what it knows of each model."""
    loaded = next(iter(snapshot.pools.values()), None)
    if loaded is None:
        return
    pool = loaded.router.pool
    budget = loaded.budget
    if budget is not None:
        objective, number = f"budget of {budget.resource}, each {budget.period_s:g} s:", budget.limit
    else:
        (objective, number), *_ = pool.objective.items()
    limits = "; ".join(f"{name} {value}" for name, value in pool.limits.items())
    yield (
        f"pool        {objective} {number:g} for {', '.join(f'router-{name}' for name in snapshot.pools)}; limits: {limits or 'none'}; "
        f"fallback {pool.fallback or 'none'}"
    )
    for name, cascading in snapshot.pools.items():
        for model, judged in cascading.judges.items():
            policy = judged.judge.policy
            yield (
                f"cascade     {name}: {model}: judge {judged.path}, risks from {policy.low:g} to {min(policy.high, 1.0):g}; "
                f"holds {judged.hold_tokens} tokens or {judged.hold_s * 1e3:g} ms of a stream"
            )
    fields = pool.to_dict()["models"]
    for one in loaded.router._candidates():
        source = f"profile {one['profile']} of {one['prompts']} prompts" if one["profile"] else "a constant chance"
        own = {**fields[one["model"]], **fields[one["model"]].get("efforts", {}).get(one["effort"], {})}
        has_prices = "input_price" in own and "output_price" in own
        price = (
            f"{own['input_price']:g} / {own['output_price']:g} {pool.currency} a million tokens"
            if has_prices
            else "no prices"
        )
        quota = f", {own['quota']} requests a minute" if "quota" in own else ""
        yield f"candidate   {one['name']}: {source}, {price}{quota}"


def _threshold(snapshot: Snapshot, alias: str) -> float:
    found = snapshot.aliases[alias].threshold
    return snapshot.routers[snapshot.aliases[alias].router].threshold if found is None else found
