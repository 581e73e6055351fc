"""What came of routed requests, and learning from it.

- :mod:`~turnout.outcomes.outcome`: ``Outcome``, one value of one kind for a route receipt;
- :mod:`~turnout.outcomes.store`: ``Outcomes``, the database that keeps them;
- :mod:`~turnout.outcomes.receipts`: ids of a decision log and the model that answered;
- :mod:`~turnout.outcomes.signature`: ``ReceiptKey``, which signs receipts;
- :mod:`~turnout.outcomes.spending`: ``Spending``, what may be spent on a day;
- :mod:`~turnout.outcomes.comparison`: what a judge is asked about two answers;
- :mod:`~turnout.outcomes.bandit`: ``Bandit``, which learns how far predicted chances of success are wrong;
- :mod:`~turnout.outcomes.learning_router`: ``LearningRouter``, a pool's router that learns;
- :mod:`~turnout.outcomes.change`: ``ChangeDetector``, which notices that outcomes or latencies change.
"""

from turnout.outcomes.outcome import KINDS, Outcome
from turnout.outcomes.store import Outcomes, Recorded

__all__ = ["KINDS", "Outcome", "Outcomes", "Recorded"]
