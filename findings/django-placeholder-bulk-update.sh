#!/usr/bin/env bash
# Django: a model field's get_placeholder() puts SQL around each value that is written, as BinaryField and GIS fields do.
# One would expect that bulk_update() puts it around a value once, as save(), update() and bulk_create() do.
#
# Seen with Django 5.2.19 (PyPI) on SQLite: twice. bulk_update() makes one CASE expression of all values of a column. The
# placeholder is put around each value in it, and once more around the whole CASE. A function that seals or
# compresses is then called on what it has given itself, without an error.
#
# Here: the field of docs/clients.md leaves expressions as they are.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps Django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1 typing_extensions==4.16.0
cat >"$work/run.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.db import connection, models


class Marked(models.TextField):
    def get_placeholder(self, value, compiler, connection):
        return "(%s || '!')"


class Row(models.Model):
    value = Marked()

    class Meta:
        app_label = "finding"


with connection.schema_editor() as editor:
    editor.create_model(Row)


def stored():
    with connection.cursor() as c:
        return c.execute("SELECT value FROM finding_row WHERE id = 1").fetchone()[0]


print("Django", django.__version__)
row = Row.objects.create(id=1, value="a")
seen = [("create", stored())]
row.save()
seen.append(("save", stored()))
Row.objects.update(value="a")
seen.append(("update", stored()))
Row.objects.bulk_create([Row(id=1, value="a")], update_conflicts=True, unique_fields=["id"], update_fields=["value"])
seen.append(("bulk_create", stored()))
Row.objects.bulk_update([row], ["value"])
seen.append(("bulk_update", stored()))
for way, value in seen:
    print(f"{way}: {value}")
assert [value for _, value in seen] == ["a!", "a!", "a!", "a!", "a!!"]
print("as described")
PYTHON
"$work/venv/bin/python" "$work/run.py"
