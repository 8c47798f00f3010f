"""A Django project whose one app is the recipe."""

from urllib.parse import urlsplit

import django
from django.conf import settings
from tell import DSN


def start(**options):
    at = urlsplit(DSN)
    settings.configure(
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": at.hostname, "PORT": at.port, "USER": at.username,
            "NAME": at.path[1:], "OPTIONS": options}},
        INSTALLED_APPS=["recipe"])
    django.setup()
