"""What goes on in the background of a test."""

import threading

import psycopg


class Work(threading.Thread):
    """Runs something in a thread of its own; `result` gives what it returned or raises what it raised, `error` the SQL
    error that it raised."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._function, self._args, self._value, self._error = function, args, None, None
        self.start()

    def run(self):
        try:
            self._value = self._function(*self._args)
        except BaseException as e:
            self._error = e

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), f"not done after {seconds} s"
        if self._error:
            raise self._error
        return self._value

    def error(self, seconds=60):
        try:
            value = self.result(seconds)
        except psycopg.Error as e:
            return e
        raise AssertionError(f"no SQL error, but {value!r}")

    def outcome(self, seconds=60):
        """The SQL error, or None when there was none."""
        try:
            self.result(seconds)
        except psycopg.Error as e:
            return e


def at_once(function, count, seconds=60):
    """function(i) in so many threads that start together; their results, errors raised."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait(60)
        return function(i)

    works = [Work(run, i) for i in range(count)]
    results = []
    for work in works:
        try:
            results.append(work.result(seconds))
        except threading.BrokenBarrierError as e:
            # Another's failure has kept this one from starting.
            results.append(e)
    for result in results:
        if isinstance(result, threading.BrokenBarrierError):
            raise result
    return results
