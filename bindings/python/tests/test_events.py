"""Who reads the events, and what happens to those that nobody reads."""

from __future__ import annotations

import asyncio
import logging
import threading
import unittest
from datetime import datetime, timezone
from typing import Any, List, Optional
from unittest import mock

from failover import Engine, Event, EventKind, HandlerError, Reentrant, Severity, StateError, Timeout, events
from failover._core import LOGGER
from failover._queue import EventQueue

from .support import FLAPS, LONG, UP, Case, threads_of_package


def event(seq: int, kind: str = EventKind.OBSERVED, severity: int = Severity.DEBUG, message: str = "") -> Event:
    return Event(kind, severity, seq, datetime.now(timezone.utc), seq, 0, "site", "web1", message)


class Queue(unittest.TestCase):
    def drain(self, queue: EventQueue) -> List[Event]:
        taken: List[Event] = []
        while True:
            one = queue.get(0)
            if one is None:
                return taken
            taken.append(one)

    def test_what_nobody_takes_is_dropped_and_counted(self) -> None:
        queue = EventQueue(10)
        queue.put(event(1, EventKind.PRIMARY_KNOWN))
        for seq in range(2, 102):
            queue.put(event(seq))
        queue.put(event(102, EventKind.FAILOVER_COMPLETED))
        taken = self.drain(queue)
        self.assertEqual([one.seq for one in taken], [1, *range(91, 103)])
        overflow = taken[1]
        self.assertEqual((overflow.kind, overflow.severity), (EventKind.OVERFLOW, Severity.WARNING))
        self.assertEqual(overflow.fields, {"dropped": 90, "important_dropped": 0})

    def test_role_changes_are_the_last_to_go(self) -> None:
        queue = EventQueue(4)
        queue.put(event(1, EventKind.FAILOVER_STARTED))
        for seq in range(2, 50):
            queue.put(event(seq, EventKind.HEALTH_CHANGED))
        taken = self.drain(queue)
        self.assertEqual(taken[0].seq, 1)
        self.assertEqual([one.kind for one in taken].count(EventKind.OVERFLOW), 1)
        self.assertEqual(taken[1].severity, Severity.ALARM)
        numbers = [one.seq for one in taken]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_it_is_over_when_everything_was_taken(self) -> None:
        queue = EventQueue(2)
        for seq in range(1, 5):
            queue.put(event(seq))
        queue.close()
        queue.put(event(9))
        self.assertFalse(queue.over)
        self.assertEqual([one.kind for one in self.drain(queue)], ["overflow", "observed", "observed"])
        self.assertTrue(queue.over)
        self.assertIsNone(queue.get(None))


class Readers(Case):
    def test_one_at_a_time_with_a_timeout(self) -> None:
        engine = Engine(self.config(UP))
        self.assertIsNone(engine.next_event(0))
        self.assertIsNone(engine.next_event(0.01))
        with engine:
            first = engine.next_event()
            assert first is not None
            self.assertEqual((first.kind, first.seq), ("engine_started", 1))
            with self.assertRaises(Timeout):
                engine.wait("two_primaries", timeout=0.05)
            engine.request_stop()
            engine.wait("engine_stopped", timeout=LONG)
            with self.assertRaises(StateError):
                engine.next_event()

    def test_a_kind_of_a_newer_library_arrives_as_its_word(self) -> None:
        self.assertIs(events._word("log", 39), EventKind.LOG)
        self.assertEqual(events._word("moon_rose", 99), "moon_rose")
        self.assertEqual(events._word("unknown", 99), "99")
        self.assertEqual(events._severity(9), 9)

    def test_a_reader_that_sleeps_is_told(self) -> None:
        engine = Engine(self.config(UP, interval="50ms"))
        engine._core.queue = EventQueue(5)
        with engine:
            while engine.status().raw["events"]["published"] < 30:
                threading.Event().wait(0.02)
            self.assertEqual(engine.wait("overflow", timeout=LONG).severity, Severity.WARNING)
        rest = [one.kind for one in engine.events()]
        self.assertEqual(rest[-1], "engine_stopped")

    def test_a_waiting_reader_ends_with_the_engine(self) -> None:
        engine = Engine(self.config(UP))
        kinds: List[str] = []
        reader = threading.Thread(target=lambda: kinds.extend(one.kind for one in engine.events()))
        reader.start()
        engine.start()
        engine.close()
        reader.join(LONG)
        self.assertEqual((kinds[0], kinds[-1]), ("engine_started", "engine_stopped"))

    def test_logs_go_to_logging(self) -> None:
        engine = Engine(self.config(UP))
        with self.assertLogs("failover", logging.DEBUG) as caught:
            engine._core._log(event(1, EventKind.LOG, Severity.ALARM, "oh"))
            engine._core._log(event(2, EventKind.LOG, Severity.DEBUG, "hm"))
        self.assertEqual([record.levelno for record in caught.records], [logging.ERROR, logging.DEBUG])
        self.assertEqual(caught.records[0].getMessage(), "oh")
        self.assertEqual(caught.records[0].failover_event.seq, 1)  # type: ignore[attr-defined]
        engine.close()

    def test_an_event_that_cannot_be_read_stops_nothing(self) -> None:
        engine = Engine(self.config(UP))
        real = events.take
        spoiled: List[int] = []

        def take(handle: Any) -> Event:
            event = real(handle)
            if not spoiled:
                spoiled.append(event.seq)
                raise ValueError("spoiled")
            return event

        with mock.patch("failover._core.take", take), self.assertLogs("failover", logging.WARNING) as caught, engine:
            engine.wait("observed", timeout=LONG)
        self.assertIn("spoiled", caught.output[0])

    def test_a_broken_log_handler_is_told(self) -> None:
        class Broken(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                raise ValueError("no")

        broken = Broken()
        engine = Engine(self.config(UP))
        LOGGER.addHandler(broken)
        try:
            engine._core._log(event(1, EventKind.LOG, Severity.ALARM, "oh"))
        finally:
            LOGGER.removeHandler(broken)
        with self.assertRaises(HandlerError):
            engine.close()


class Handlers(Case):
    def test_they_get_everything_in_order(self) -> None:
        engine = Engine(self.config(FLAPS))
        one: List[int] = []
        two: List[str] = []
        enough = threading.Event()

        @engine.on_event
        def first(event: Event) -> None:
            one.append(event.seq)

        @engine.on_event
        def second(event: Event) -> None:
            two.append(event.kind)
            if len(two) == 10:
                enough.set()

        with engine:
            self.assertTrue(enough.wait(LONG))
            with self.assertRaisesRegex(StateError, "one consumer"):
                engine.next_event(0)
            with self.assertRaisesRegex(StateError, "one consumer"):
                next(iter(engine.events()))
        self.assertEqual(one, list(range(1, len(one) + 1)))
        self.assertEqual((two[0], two[-1]), ("engine_started", "engine_stopped"))

    def test_a_reader_keeps_them_out(self) -> None:
        with Engine(self.config(UP)) as engine:
            engine.next_event()
            with self.assertRaisesRegex(StateError, "one consumer"):
                engine.on_event(lambda event: None)

    def test_one_that_raises_is_logged_and_raised_at_the_end(self) -> None:
        engine = Engine(self.config(UP))
        seen = threading.Event()

        @engine.on_event
        def handler(event: Event) -> None:
            if event.seq == 1:
                raise ValueError("first")
            if event.seq == 2:
                raise SystemExit(3)
            if event.seq == 3:
                seen.set()

        with self.assertLogs("failover", logging.ERROR) as logged, self.assertRaises(HandlerError) as caught:
            with engine:
                self.assertTrue(seen.wait(LONG))
        self.assertEqual([type(error) for error in caught.exception.errors], [ValueError, SystemExit])
        self.assertEqual(caught.exception.count, 2)
        self.assertIsInstance(caught.exception.__cause__, ValueError)
        self.assertEqual(len(logged.records), 2)
        # Told once.
        engine.close()

    def test_it_does_not_hide_what_ended_the_block(self) -> None:
        engine = Engine(self.config(UP))
        raised = threading.Event()

        @engine.on_event
        def handler(event: Event) -> None:
            raised.set()
            raise ValueError("in the handler")

        with self.assertLogs("failover"), self.assertRaisesRegex(KeyError, "in the block"):
            with engine:
                raised.wait(LONG)
                raise KeyError("in the block")

    def test_stop_is_refused_in_them_and_request_stop_is_not(self) -> None:
        engine = Engine(self.config(UP))
        caught: List[Optional[BaseException]] = []

        @engine.on_event
        def handler(event: Event) -> None:
            if event.seq > 1:
                return
            for refused in (engine.stop, engine.close):
                try:
                    refused()
                except Reentrant as error:
                    caught.append(error)
            engine.pause()
            engine.status()
            engine.request_stop()

        engine.start()
        while not engine._core._polled.wait(LONG):
            self.fail("it did not stop")
        engine.close()
        self.assertEqual(len(caught), 2)

    def test_registered_late_it_gets_what_was_kept(self) -> None:
        with Engine(self.config(UP)) as engine:
            first: List[Event] = []
            came = threading.Event()

            @engine.on_event
            def handler(event: Event) -> None:
                first.append(event)
                came.set()

            self.assertTrue(came.wait(LONG))
        self.assertEqual(first[0].kind, "engine_started")


class Asyncio(Case):
    def test_async_for_ends_with_the_engine(self) -> None:
        async def main() -> List[str]:
            kinds: List[str] = []
            async with Engine(self.config(FLAPS)) as engine:
                async for event in engine.events():
                    kinds.append(event.kind)
                    if kinds.count("health_changed") == 2:
                        engine.request_stop()
            return kinds

        kinds = asyncio.run(main())
        self.assertEqual((kinds[0], kinds[-1]), ("engine_started", "engine_stopped"))

    def test_a_cancelled_reader_loses_nothing_and_leaves_nothing(self) -> None:
        async def main() -> None:
            async with Engine(self.config(UP, interval="50ms")) as engine:
                numbers: List[int] = []
                for _ in range(100):
                    try:
                        event = await asyncio.wait_for(engine.events().__anext__(), 0.003)
                    except asyncio.TimeoutError:
                        continue
                    numbers.append(event.seq)
                self.assertEqual(engine._core.queue._waiters, [])
                while len(numbers) < 20:
                    numbers.append((await engine.events().__anext__()).seq)
                # wait_for itself may lose what came in the moment of its time-out (Python before 3.12).
                self.assertEqual(numbers, sorted(set(numbers)))

        asyncio.run(main())

    def test_the_loop_goes_on_meanwhile(self) -> None:
        async def main() -> None:
            async with Engine(self.config(UP)) as engine:
                ticks = 0

                async def tick() -> None:
                    nonlocal ticks
                    while True:
                        ticks += 1
                        await asyncio.sleep(0)

                ticker = asyncio.ensure_future(tick())
                seen = 0
                async for event in engine.events():
                    seen += 1
                    if seen == 20:
                        break
                ticker.cancel()
                self.assertGreater(ticks, 20)

        asyncio.run(main())

    def test_a_loop_that_was_closed_hurts_nobody(self) -> None:
        engine = Engine(self.config(UP))
        loop = asyncio.new_event_loop()
        waiting: Any = loop.create_task(engine.events().__anext__())
        waiting._log_destroy_pending = False
        loop.run_until_complete(asyncio.sleep(0))
        self.assertEqual(len(engine._core.queue._waiters), 1)
        loop.close()
        with engine:
            # The waiter was there first, and nothing was lost by it.
            first = engine.next_event(LONG)
            assert first is not None
            self.assertEqual(first.seq, 1)

    def test_threads_end(self) -> None:
        self.test_async_for_ends_with_the_engine()
        self.assertEqual(threads_of_package(), [])

    def test_no_thread_left_for_the_events(self) -> None:
        engine = Engine(self.config(UP))
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
            with self.assertRaisesRegex(Exception, "no thread"):
                engine.start()
        self.assertEqual(engine.status().engine, "stopped")
        engine.close()


if __name__ == "__main__":
    unittest.main()
