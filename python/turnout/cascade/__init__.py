"""Cascades: ask the cheaper model, judge its answer, keep it or ask the strong one."""

from turnout.cascade.answer import Answer
from turnout.cascade.judge import Form, Judge, Policy
from turnout.cascade.scorer import Scorer
from turnout.cascade.signals import SIGNALS, Signal
from turnout.cascade.steps import Step, pair_steps, pool_steps

__all__ = ["SIGNALS", "Answer", "Form", "Judge", "Policy", "Scorer", "Signal", "Step", "pair_steps", "pool_steps"]
