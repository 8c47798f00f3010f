import sys

import django
from django_project import start
from tell import AWKWARD, CHANGED, SECRET, fate, kind, shown, tell

start(server_side_binding="server" in sys.argv)

from django.core.exceptions import FieldError
from django.db import Error, connection, models
from recipe.models import Customer, Patient


class Scan(models.Model):
    id = models.IntegerField(primary_key=True)
    note = models.BinaryField()

    class Meta:
        app_label = "recipe"
        db_table = "patients"


def failure(run):
    try:
        run()
    except (Error, FieldError) as e:
        return e


def whole(model, name, said):
    def read(id=1):
        return model.objects.values_list(name, flat=True).get(id=id)

    objects = model.objects
    one = objects.create(id=1, **{name: AWKWARD})
    one.refresh_from_db()
    tell(f"{said}added", getattr(one, name))
    setattr(one, name, CHANGED)
    one.save()
    tell(f"{said}changed", read())
    objects.bulk_create([model(id=2, **{name: AWKWARD}), model(id=3)])
    tell(f"{said}many rows and NULL", (read(2), read(3)) == (AWKWARD, None))
    tell(f"{said}IS NULL", objects.filter(**{f"{name}__isnull": True}).count() == 1)
    objects.filter(id__gt=1).delete()
    objects.bulk_update([model(id=1, **{name: AWKWARD})], [name])
    tell(f"{said}bulk_update", read() == AWKWARD)
    objects.bulk_create(
        [model(id=1, **{name: CHANGED})], update_conflicts=True, unique_fields=["id"], update_fields=[name])
    tell(f"{said}upserts", read() == CHANGED)
    with connection.cursor() as c:
        c.execute(f"SELECT {name} FROM {model._meta.db_table}")
        tell(name, kind(c.fetchone()[0]))
    tell(f"{name} =", type(failure(lambda: list(objects.filter(**{name: CHANGED})))).__name__)
    for other in ("icontains", "in", "gt"):
        refused = failure(lambda: list(objects.filter(**{f"{name}__{other}": [CHANGED]})))
        tell(f"{said}{other} is refused", isinstance(refused, FieldError))
    refused = failure(lambda: objects.get_or_create(**{name: CHANGED}))
    tell(f"{said}get_or_create is refused", isinstance(refused, FieldError))


tell("version", django.__version__)
whole(Customer, "ssn", "")
whole(Patient, "note", "note ")
Customer.objects.create(id=3, ssn=AWKWARD.encode())
tell("bytes for ssn", fate(Customer.objects.get(id=3).ssn, AWKWARD))
scan = Scan.objects.create(id=2, note=AWKWARD.encode())
tell("BinaryField after create", "as given" if scan.note == AWKWARD.encode() else "other")
scan.refresh_from_db()
tell("BinaryField when read", kind(scan.note))
tell("BinaryField seals bytes as they are", Patient.objects.get(id=2).note == AWKWARD)
_, created = Scan.objects.get_or_create(note=AWKWARD.encode(), defaults={"id": 4})
tell("BinaryField in get_or_create", "another row" if created else "found")
tell("value in errors", shown(failure(lambda: Customer.objects.create(id=1, ssn=SECRET))))
