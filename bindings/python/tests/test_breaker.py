"""The circuit breaker for the program's own calls."""

from __future__ import annotations

import asyncio
import os
import unittest

from failover import BreakerState, CircuitBreaker, Forked, InvalidArgument, Rejected


class Breaker(unittest.TestCase):
    def fail(self, breaker: CircuitBreaker, error: BaseException = OSError()) -> None:  # type: ignore[override]
        with self.assertRaises(type(error)), breaker.permit():
            raise error

    def test_it_opens_and_closes(self) -> None:
        breaker = CircuitBreaker(2, 3600, 1)
        self.fail(breaker)
        with breaker.permit():
            pass
        self.fail(breaker)
        self.assertEqual(breaker.state, BreakerState.CLOSED)
        self.fail(breaker)
        self.assertEqual(breaker.state, BreakerState.OPEN)
        with self.assertRaises(Rejected) as caught, breaker.permit():
            self.fail(breaker)
        self.assertTrue(caught.exception.retriable)
        after = caught.exception.retry_after
        assert after is not None
        self.assertTrue(0 < after <= 3600)
        breaker.reset()
        self.assertEqual(breaker.state, BreakerState.CLOSED)

    def test_half_open(self) -> None:
        breaker = CircuitBreaker(1, 0.001, 1)
        self.fail(breaker)
        while breaker.state != BreakerState.CLOSED:
            try:
                with breaker.permit():
                    pass
            except Rejected:
                continue

    def test_what_counts(self) -> None:
        breaker = CircuitBreaker(1, 3600, 1, failures=(OSError,))
        self.fail(breaker, ValueError())
        self.fail(breaker, KeyboardInterrupt())
        self.assertEqual(breaker.state, BreakerState.CLOSED)
        self.fail(breaker, ConnectionResetError())
        self.assertEqual(breaker.state, BreakerState.OPEN)

    def test_as_a_decorator(self) -> None:
        breaker = CircuitBreaker(1, 3600, 1)

        @breaker
        def twice(number: int) -> int:
            return 10 // number * 2

        @breaker
        async def later(number: int) -> int:
            await asyncio.sleep(0)
            return 10 // number

        self.assertEqual((twice(5), asyncio.run(later(5))), (4, 2))
        self.assertEqual(twice.__name__, "twice")
        with self.assertRaises(ZeroDivisionError):
            asyncio.run(later(0))
        with self.assertRaises(Rejected):
            twice(5)

    def test_wrong_numbers(self) -> None:
        for numbers in ((0, 1.0, 1), (1, 0.0, 1), (1, 1.0, 0), (-1, 1.0, 1), (2**32, 1.0, 1), (1, 1e9, 1)):
            with self.assertRaises(InvalidArgument):
                CircuitBreaker(*numbers)

    def test_in_a_child(self) -> None:
        breaker = CircuitBreaker()
        child = os.fork()
        if child == 0:
            refused = 0
            try:
                with breaker.permit():
                    pass
            except Forked:
                refused += 1
            try:
                breaker.state
            except Forked:
                refused += 1
            del breaker
            os._exit(0 if refused == 2 else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()
