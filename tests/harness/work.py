"""What goes on in the background of a test."""

import threading


class Work(threading.Thread):
    """Runs something in a thread of its own; `result` gives what it returned or raises what it raised."""

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
