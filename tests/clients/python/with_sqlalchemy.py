import asyncio
import io
import logging
import sys

import sqlalchemy
from recipe import Customer, Patient
from sqlalchemy import create_engine, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn
from tell import AWKWARD, CHANGED, DSN, SECRET, fate, kind, shown, tell

tell("version", sqlalchemy.__version__)
URL = DSN.replace("postgres://", f"postgresql+{sys.argv[1]}://")
engine = create_engine(URL)


def read(entity, id):
    """In a session of its own, so that the value comes from the database."""
    with Session(engine) as s:
        one = s.get(entity, id)
        return one.ssn if entity is Customer else one.note


def failure(statement, engine=engine):
    try:
        with engine.begin() as c:
            c.execute(statement)
    except DBAPIError as e:
        return e


def whole(entity, name, said):
    column = getattr(entity, name)
    with Session(engine) as s, s.begin():
        s.add(entity(id=1, **{name: AWKWARD}))
    tell(f"{said}added", read(entity, 1))
    with Session(engine) as s, s.begin():
        setattr(s.get(entity, 1), name, CHANGED)
    tell(f"{said}changed", read(entity, 1))
    with Session(engine) as s, s.begin():
        again = update(entity).values({name: AWKWARD}).returning(column)
        tell(f"{said}RETURNING gives it opened", s.scalar(again) == AWKWARD)
        new = upsert(entity).values({"id": 1, name: CHANGED})
        s.execute(new.on_conflict_do_update(index_elements=["id"], set_={name: new.excluded[name]}))
        s.execute(insert(entity), [{"id": 2, name: AWKWARD}, {"id": 3, name: None}])
    tell(f"{said}upserts", read(entity, 1) == CHANGED)
    tell(f"{said}many rows and NULL", (read(entity, 2), read(entity, 3)) == (AWKWARD, None))
    with engine.begin() as c:
        c.execute(delete(entity).where(entity.id > 1))
        tell(name, kind(c.exec_driver_sql(f"SELECT {name} FROM {entity.__tablename__}").scalar()))


def main():
    whole(Customer, "ssn", "")
    whole(Patient, "note", "note ")
    failed = failure(insert(Customer).values(id=3, ssn=AWKWARD.encode()))
    tell("bytes for ssn", "refused" if failed else fate(read(Customer, 3), AWKWARD))
    tell("ssn =", failure(select(Customer).where(Customer.ssn == CHANGED)).orig.sqlstate)
    with engine.begin() as c:
        tell("note =", len(c.execute(select(Patient.id).where(Patient.note == CHANGED)).all()))
    again = insert(Customer).values(id=1, ssn=SECRET)
    tell("value in errors", shown(failure(again)))
    for hide in (False, True):
        log = io.StringIO()
        logger = logging.getLogger("sqlalchemy.engine")
        logger.addHandler(handler := logging.StreamHandler(log))
        logger.setLevel(logging.INFO)
        error = failure(again, create_engine(URL, hide_parameters=hide))
        logger.removeHandler(handler)
        tell("value in the log" + " with hide_parameters" * hide, shown(log.getvalue()))
    tell("value in errors with hide_parameters", shown(error))


# The dialect of asyncpg waits inside an event loop.
if sys.argv[1] == "asyncpg":
    asyncio.run(greenlet_spawn(main))
else:
    main()
