"""What wraps a plain handler, one idea a file. Each is a function or object that takes a handler and returns one.

The order that works, outermost first: throttle, tracing, metrics, logging, dead letter, deduplicate, recoverer, retry, circuit breaker,
correlation, timeout.
"""

from millrace.middleware.circuit_breaker import CircuitBreaker
from millrace.middleware.correlation import correlation
from millrace.middleware.dead_letter import DeadLetter
from millrace.middleware.deduplicate import Deduplicate
from millrace.middleware.logging import log_messages
from millrace.middleware.metrics import HandlerMetrics
from millrace.middleware.recoverer import recoverer
from millrace.middleware.retry import Retry
from millrace.middleware.throttle import Throttle
from millrace.middleware.timeout import Timeout, remaining_seconds
from millrace.middleware.tracing import Tracing

__all__ = [
    "CircuitBreaker",
    "DeadLetter",
    "Deduplicate",
    "HandlerMetrics",
    "Retry",
    "Throttle",
    "Timeout",
    "Tracing",
    "correlation",
    "log_messages",
    "recoverer",
    "remaining_seconds",
]
