"""``turnout.Cascade``: asks a cheaper model, judges its answer, keeps it or asks the next one."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from turnout._core import ConfigError
from turnout.cascade import Answer, Judge, Scorer, Step
from turnout.cascade.answer import TOP_LOGPROBS
from turnout.cascade.judge import Action
from turnout.cascade.steps import action_of
from turnout.controller.cascade_choice import chooser_of
from turnout.controller.model_calls import ModelCalls
from turnout.conversation import Context, prompt_of
from turnout.conversation.messages import listed
from turnout.conversation.needs import needs_of
from turnout.errors import RoutingError
from turnout.pool.router import PoolRouter
from turnout.scored_router import AnyRouter

CHECK = "Question: {prompt}\nProposed answer: {answer}\nIs the proposed answer right? Reply yes or no."
#: Further answers for the agreement signal, and their temperature.
SAMPLES, TEMPERATURE = 2, 0.8


@dataclass(frozen=True)
class Call:
    """One call of a model.

    Attributes:
        model: Its name.
        input_tokens: As the upstream counted them; ``None`` if it did not.
        output_tokens: Likewise.
        cost: From the prices; ``None`` without a price or a count.
    """

    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None


@dataclass(frozen=True)
class CascadeAnswer:
    """An answer of a cascade.

    Attributes:
        completion: What the model's client returned, of the answer that was kept.
        model: The model that gave it.
        action: What the prompt's risk decided before any call: ``"cheap"``, ``"cascade"`` or ``"strong"``.
        risk: Of the prompt.
        p_error: Chance that the cheaper model's answer is wrong; ``None`` if it was not judged.
        threshold: Up to which it is kept.
        calls: Every call that was made, those of a discarded answer, of further answers and of the self-check too.
    """

    completion: Any
    model: str
    action: Action
    risk: float
    p_error: float | None
    threshold: float
    calls: Sequence[Call]

    @property
    def cost(self) -> float | None:
        """Cost of all calls; ``None`` if that of one is unknown."""
        costs = [call.cost for call in self.calls]
        return None if None in costs else math.fsum(cost for cost in costs if cost is not None)


#: A request of a model, or a prompt and an answer to score.
_Task = dict[str, Any] | tuple[str, str]
_Steps = Generator[Sequence[_Task], list[Any], CascadeAnswer]


class Cascade:
    """Chat completions by a cheaper model where its answer is good enough, else by a better one.

    Of two models: the router's win rate is the prompt's risk. Below the judge's band the cheaper model answers and is not judged, above it
    the strong model answers at once; between, the cheaper model's answer is judged. Of a pool: :func:`turnout.cascade.pool_steps` says
    which models are called in turn; needs and the pool's limits hold.

    Models are called as by :class:`turnout.Controller`. An error of a call is raised as it is. Safe to share between threads.

    Args:
        router: The router that the judge was fitted with, or that of a pool, from :func:`turnout.load`.
        judge: From :meth:`turnout.cascade.Judge.load`; of a pool, by names of models.
        strong: Name of the strong model; of a pool, none.
        weak: Name of the cheaper model; of a pool, none.
        api_base: Base URL for all models; by default OpenAI's, or what the environment says.
        api_key: Key for all models; by default from the environment.
        models: Endpoints of single models, as for :class:`turnout.Controller`. A model without a capability that a request needs is
            not asked.
        prices: Of input and output, per million tokens, by model: ``{"small": (0.1, 0.4)}``; for the cost of answers.
        context: What is judged: ``"last_user"``, ``"conversation"`` or a function of the messages.
        agree_with: Names of cheap models whose answers are the samples of the ``agreement`` signal; by default the model itself is asked
            twice more, at a temperature of 0.8.
        scorer: Of answers, where the judge reads the signal ``scorer``.

    Raises:
        ConfigError: ``models`` or ``prices`` has a wrong entry, or names and judges do not fit the router.

    Example:
        >>> import turnout
        >>> from turnout.cascade import Form, Judge, Policy
        >>> policy = Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=5.0, low=0.4, high=0.9)
        >>> form = Form(["mean_logprob"], [-2.0], prompt_weight=0.5, intercept=-1.0, x=[0.0, 1.0], y=[0.0, 1.0])
        >>> cascade = turnout.Cascade(turnout.load(), Judge([form], policy), strong="large", weak="small")
        >>> cascade.action("What is 2 + 2?")
        'cascade'
    """

    def __init__(
        self,
        router: AnyRouter | PoolRouter,
        judge: Judge | Mapping[str, Judge],
        *,
        strong: str | None = None,
        weak: str | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        models: Mapping[str, Mapping[str, Any]] | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
        context: Context = "last_user",
        agree_with: Sequence[str] = (),
        scorer: Scorer | None = None,
    ) -> None:
        self._chooser = chooser_of(router, judge, strong, weak)
        self.router, self.judge, self.context = router, judge, context
        known = [*self._chooser.models, *agree_with]
        for name, pair in (prices or {}).items():
            if name not in known or len(pair) != 2 or min(pair) < 0:
                raise ConfigError(
                    f"prices[{name!r}] is {pair!r}, expected prices of {', '.join(map(repr, known))}: input and output, 0 or more"
                )
        self._prices = dict(prices or {})
        self._agree_with = tuple(agree_with)
        self._scorer = scorer
        judges = judge.values() if isinstance(judge, Mapping) else [judge]
        if scorer is None and any("score" in one.needs() for one in judges):
            raise ConfigError("the judge reads the signal scorer: give scorer")
        self._calls = ModelCalls(api_base, api_key, models or {})

    def action(self, prompt: str) -> Action:
        """What the prompt decides before any call.

        Args:
            prompt: The prompt.

        Returns:
            ``"cheap"``, ``"cascade"`` or ``"strong"``.
        """
        return self._chooser.steps(prompt, frozenset())[0]

    def completion(self, **request: Any) -> CascadeAnswer:
        """A chat completion.

        Args:
            **request: Arguments of a chat completion without ``model``, passed on as they are; of more than one choice (``n``) the
                first is judged.

        Returns:
            The answer, with every call that it took.

        Raises:
            RoutingError: ``stream`` is set, or messages that cannot be routed with, or neither model serves what they need.
            ConfigError: The judge has no form for the answer, or a package for the call is missing.
        """
        request = _checked(request)
        prompt = prompt_of(request["messages"], self.context)
        needs = needs_of(request)
        steps = self._steps(request, prompt, needs, *self._chooser.steps(prompt, needs))
        tasks = next(steps)
        while True:
            try:
                tasks = steps.send([self._done(one) for one in tasks])
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    async def acompletion(self, **request: Any) -> CascadeAnswer:
        """:meth:`completion` for asyncio; calls that do not depend on each other run at once.

        Args:
            **request: As for :meth:`completion`.

        Returns:
            As :meth:`completion`.

        Raises:
            RoutingError: As :meth:`completion`.
            ConfigError: As :meth:`completion`.
            OverloadedError: The router's queue is full.
        """
        import asyncio

        request = _checked(request)
        prompt = prompt_of(request["messages"], self.context)
        needs = needs_of(request)
        steps = self._steps(request, prompt, needs, *(await self._chooser.asteps(prompt, needs)))
        tasks = next(steps)
        while True:
            found = await asyncio.gather(*(self._adone(one) for one in tasks))
            try:
                tasks = steps.send(list(found))
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Cascade holds connections and cannot be pickled or copied: create one in each process")

    def _done(self, task: _Task) -> Any:
        if isinstance(task, dict):
            return self._calls.complete(task)
        assert self._scorer is not None
        return self._scorer.score(*task)

    async def _adone(self, task: _Task) -> Any:
        if isinstance(task, dict):
            return await self._calls.acomplete(task)
        assert self._scorer is not None
        return await self._scorer.ascore(*task)

    def _steps(
        self, request: dict[str, Any], prompt: str, needs: frozenset[str], action: Action, chosen: list[Step]
    ) -> _Steps:
        """The calls to make: yields those that may run at once, is sent their completions, returns the answer."""
        able = [step for step in chosen if self._calls.serves(step.model, needs)]
        if not able:
            # One that was passed over may serve it; else the error names what is missing.
            names = self._chooser.models
            able = [Step(self._calls.serving(needs, names[0], *names[1:]))]
        if able != chosen:
            able[-1] = replace(able[-1], judge=None)
            best = self._chooser.models[0] if action == "cheap" else chosen[-1].model
            action = action_of(able, best)
        calls: list[Call] = []
        p_error: float | None = None
        judged = able[0]
        for step in able:
            needed = set() if step.judge is None else step.judge.needs()
            completions = yield self._first(request, step.model, needed)
            names = [step.model, *self._others(step.model, needed)]
            calls += [self._call(name, one) for name, one in zip(names, completions, strict=True)]
            completion = completions[0]
            if step.judge is None:
                break
            judged, answer = step, Answer.from_completion(completion)
            if "samples" in needed:
                answer = answer.with_samples([Answer.from_completion(one).text for one in completions[1:]])
            if "self_check" in needed:
                [checked] = yield [self._check(step.model, prompt, answer)]
                calls.append(self._call(step.model, checked))
                answer = replace(answer, self_check=p_yes(checked))
            if self._scorer is not None and "score" in needed:
                [score] = yield [(prompt, answer.text)]
                answer = replace(answer, score=score)
            p_error = step.judge.p_error(step.risk, answer)
            if p_error <= step.limit:
                break
        return CascadeAnswer(completion, step.model, action, able[0].risk, p_error, judged.limit, calls)

    def _others(self, model: str, needed: set[str]) -> list[str]:
        """Whose further answers are compared."""
        return list(self._agree_with or [model] * SAMPLES) if "samples" in needed else []

    def _first(self, request: dict[str, Any], model: str, needed: set[str]) -> list[dict[str, Any]]:
        samples = [{**request, "model": name} for name in self._others(model, needed)]
        if not self._agree_with:
            samples = [{**one, "temperature": TEMPERATURE} for one in samples]
        first = {**request, "model": model}
        if needed & {"logprobs", "first_top_logprobs"}:
            first = {**first, "logprobs": True, "top_logprobs": request.get("top_logprobs") or TOP_LOGPROBS}
        return [first, *samples]

    def _check(self, model: str, prompt: str, answer: Answer) -> dict[str, Any]:
        content = CHECK.format(prompt=prompt, answer=answer.text)
        return {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }

    def _call(self, model: str, completion: Any) -> Call:
        usage = getattr(completion, "usage", None)
        tokens = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
        price = self._prices.get(model)
        cost = None
        if price is not None and tokens[0] is not None and tokens[1] is not None:
            cost = (tokens[0] * price[0] + tokens[1] * price[1]) / 1e6
        return Call(model, *tokens, cost)


def p_yes(completion: Any) -> float | None:
    """Probability of "yes" among the candidates of the first token that mean yes or no; ``None`` if there are none."""
    tokens = (completion.model_dump()["choices"][0].get("logprobs") or {}).get("content")
    chances = {"yes": 0.0, "no": 0.0}
    for top in (tokens[0].get("top_logprobs") or ()) if tokens else ():
        word = top["token"].strip().lower()
        if word in chances:
            chances[word] += math.exp(top["logprob"])
    total = sum(chances.values())
    return chances["yes"] / total if total else None


def _checked(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("stream"):
        raise RoutingError("a cascade judges whole answers: leave out stream=True")
    if "model" in request:
        raise RoutingError(f"model is {request['model']!r}: a cascade has its own two models, leave it out")
    return {**request, "messages": listed(request.get("messages"))}
