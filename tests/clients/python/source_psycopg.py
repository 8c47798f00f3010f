from decimal import Decimal

import psycopg
from recipe import add, change, read
from tell import DSN, tell

with psycopg.connect(DSN, autocommit=True) as c:
    add(c, 1, Decimal("1234.5"))
    tell("added", repr(read(c, 1)))
    change(c, 1, Decimal("-0.07"))
    tell("changed", repr(read(c, 1)))
