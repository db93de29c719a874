"""Reads the jaxpr: the equations that tracing a function wrote down. Nothing else does."""

from functional.jaxpr.graph import draw
from functional.jaxpr.program import Equation, Program, trace

__all__ = ["Equation", "Program", "draw", "trace"]
