"""Two versions of an application at work on a table while its columns are being sealed: what each of their transactions
took, and what each row must hold at the end."""

import dataclasses
import datetime
import random
import threading
import time

import psycopg

TABLE = """
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, ssn text NOT NULL, email text, phone varchar(30),
                     born date, salary numeric(10,2), changed timestamptz NOT NULL DEFAULT now())"""
SENSITIVE = ("ssn", "email", "phone", "born", "salary")
_ANYWHERE = ", ".join(f"%({column})s" for column in SENSITIVE)


def fill(connection, rows):
    """People 1 to `rows`."""
    connection.execute(TABLE)
    connection.execute(
        """INSERT INTO people SELECT g, 'name ' || g, format('%%s-%%s', 100000000 + g, g), format('p%%s@example.org', g),
                  format('+49 30 %%s', 100000 + g), date '1940-01-01' + (g %% 25000)::int, (g %% 100000) + 0.25
           FROM generate_series(1, %s) g""", (rows,))


def original(number):
    """What `fill` wrote of person `number`."""
    return {"ssn": f"{100000000 + number}-{number}", "email": f"p{number}@example.org", "phone": f"+49 30 {100000 + number}",
            "born": datetime.date(1940, 1, 1) + datetime.timedelta(days=number % 25000),
            "salary": f"{number % 100000}.25"}


def person(number, generation):
    """What the columns of person `number` hold once changed `generation` times; some of it awkward, some of it NULL."""
    return {"ssn": f"{100000000 + number}-{generation}", "email": f"C:\\101 \\x41 é🔑 {number}@{generation}",
            "phone": None if (number + generation) % 5 == 0 else f"+49 {number} {generation}",
            "born": datetime.date(1900, 1, 1) + datetime.timedelta(days=(number * 7 + generation) % 40000),
            "salary": None if generation % 7 == 3 else f"{(number + generation) % 99999}.50"}


class Version:
    """A version of the application, by its statements. All name the columns that they mean."""

    def __init__(self, name, read, erases=""):
        self.name, self.read = name, read
        self.insert = f"INSERT INTO people (id, name, {', '.join(SENSITIVE)}) VALUES (%(id)s, %(name)s, {_ANYWHERE})"
        self.update = (f"UPDATE people SET ({', '.join(SENSITIVE)}) = ({_ANYWHERE}), {erases} changed = now() "
                       f"WHERE id = %(id)s")


# The one of today reads what it has written. The next one reads through the view of opened values, and erases a value by
# its sealed column, since an empty source says nothing.
OLD = Version("old", f"SELECT {', '.join(SENSITIVE)} FROM people WHERE id = %(id)s")
NEW = Version("new", f"SELECT {', '.join(SENSITIVE)} FROM people_open WHERE id = %(id)s", "".join(
    f"{column}_sealed = CASE WHEN %(has_{column})s THEN {column}_sealed END, " for column in SENSITIVE))


@dataclasses.dataclass
class Done:
    """A transaction."""
    version: str
    at: float
    seconds: float
    error: str | None


class Load:
    """Clients that write and read at a steady rate, each people of its own, so that each knows what it must read."""

    def __init__(self, cluster, rows, clients=4, rate=60):
        self.started, self._stop = time.monotonic(), threading.Event()
        self.done, self.wrong = [], []
        self._clients = [_Client(self, cluster, number, clients, rows, clients / rate) for number in range(clients)]

    def run(self, *versions):
        """From now on these versions run, each on its share of the clients."""
        for client in self._clients:
            client.version = versions[client.number % len(versions)]
            if not client.is_alive():
                client.start()

    def stop(self):
        self._stop.set()
        for client in self._clients:
            client.join(60)
            assert not client.is_alive()

    def people(self):
        """How often each of those that were written has been changed."""
        return {who: generation for client in self._clients for who, generation in client.people.items()}

    def errors(self):
        return [done for done in self.done if done.error]

    def longest(self):
        return max(done.seconds for done in self.done)

    def seconds(self):
        return time.monotonic() - self.started

    def is_over(self, seconds):
        return self._stop.wait(max(0, seconds))


class _Client(threading.Thread):
    def __init__(self, load, cluster, number, clients, rows, pause):
        super().__init__(daemon=True)
        self.number, self.version, self.people = number, None, {}
        self._load, self._cluster, self._pause = load, cluster, pause
        self._clients, self._rows, self._newest = clients, rows, rows - rows % clients + clients + number
        self._chance, self._connection = random.Random(number), None

    def run(self):
        due = time.monotonic()
        while True:
            version, started, error = self.version, time.monotonic(), None
            try:
                self._connection = self._connection or self._cluster.connect()
                self._transaction(version)
            except psycopg.Error as e:
                error, self._connection = f"{e.sqlstate} {e}", None
            ended = time.monotonic()
            self._load.done.append(Done(version.name, started - self._load.started, ended - started, error))
            due += self._pause
            if self._load.is_over(due - ended):
                break
        if self._connection:
            self._connection.close()

    def _transaction(self, version):
        kind = self._chance.random()
        if kind < 0.2:
            self._newest += self._clients
            self._write(version.insert, self._newest, 1)
        elif kind < 0.6 or not self.people:
            who = self._chance.randrange(1, self._rows // self._clients) * self._clients + self.number
            self._write(version.update, who, self.people.get(who, 0) + 1)
        else:
            who = self._chance.choice(list(self.people)[-500:])
            row = self._connection.execute(version.read, {"id": who}).fetchone()
            if not is_person(row, who, self.people[who]):
                self._load.wrong.append((version.name, who, self.people[who], row))

    def _write(self, statement, who, generation):
        values = person(who, generation)
        given = {f"has_{column}": value is not None for column, value in values.items()}
        self._connection.execute(statement, {"id": who, "name": f"name {who}", **values, **given})
        self.people[who] = generation


def is_person(row, who, generation):
    """Whether a row of the sensitive columns is what the application wrote."""
    return row is not None and is_same(row, person(who, generation))


def is_same(row, wanted):
    return all(value is None and wanted[column] is None or value is not None and str(value) == str(wanted[column])
               for column, value in zip(SENSITIVE, row, strict=True))
