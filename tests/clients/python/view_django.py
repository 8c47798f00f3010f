from datetime import date

from django_project import start
from tell import tell

start()

from recipe.models import Employee

one = Employee.objects.create(id=1, born=date(1999, 12, 31))
one.refresh_from_db()
tell("added", one.born)
one.born = date(1987, 6, 5)
one.save()
one.refresh_from_db()
tell("changed", one.born)
tell("found", list(Employee.objects.filter(born__lt=date(1990, 1, 1)).values_list("id", flat=True)))
