"""Builds and keeps routers of kind ``sw_ranking``: battles, ratings, tiers, index (extra ``[ranking]``)."""

from turnout.ranking.build import Options, build
from turnout.ranking.encoder import Encoder, encoder_of
from turnout.ranking.rating import Rating, rate
from turnout.ranking.table import BattleTable, read_battle_table

__all__ = ["BattleTable", "Encoder", "Options", "Rating", "build", "encoder_of", "rate", "read_battle_table"]
