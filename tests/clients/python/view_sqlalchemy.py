from datetime import date

from recipe import Employee
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from tell import DSN, tell

engine = create_engine(DSN.replace("postgres://", "postgresql+psycopg://"))
with Session(engine) as s, s.begin():
    one = Employee(id=1, born_sealed=date(1999, 12, 31))
    s.add(one)
    s.flush()
    tell("added", one.born)
    one.born_sealed = date(1987, 6, 5)
    s.flush()
    tell("changed", one.born)
with Session(engine) as s:
    tell("found", s.scalars(select(Employee.id).where(Employee.born < date(1990, 1, 1))).all())
