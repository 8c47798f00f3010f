"""A server that may go away at any moment."""

import psycopg


class Died(Exception):
    """It went away; whether the last command took effect is not known."""


def execute(connection, query, params=None):
    try:
        return connection.execute(query, params)
    except psycopg.Error as e:
        # Without a code the connection broke; 57P0x: crash of another backend, shutdown, not ready yet.
        if connection.closed or (e.sqlstate or "57P02") in ("57P01", "57P02", "57P03"):
            raise Died from e
        raise
