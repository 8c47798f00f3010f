"""The clients, by their names in the table of docs/clients.md."""

from clients.client import Client
from clients.place import CLIENTS, GOPATH, HERE, JDBC, NODE, PYTHON
from harness import document


def python(heading, program, *args, recipe="recipe.py"):
    return Client(heading, "python", recipe, lambda directory: [
        "env", f"PYTHONPATH={directory}:{HERE / 'python'}", PYTHON, HERE / "python" / program, *args])


def node(heading, program):
    """Modules are looked for from the file that asks for them: all lie in one directory."""
    script = f'cp "$1"/tell.mjs "$1"/{program} . && ln -s "$2" node_modules && exec "$3" {program}'
    return Client(heading, "javascript", "recipe.mjs", lambda _: [
        "sh", "-ec", script, "sh", HERE / "node", CLIENTS / "node" / "node_modules", NODE])


def prisma(heading):
    """The client is generated from the schema, which is a block of the page, too."""
    [schema] = document.blocks("clients.md", heading, "prisma")
    script = ('cp "$1"/node/tell.mjs "$1"/prisma/run.mjs . && printf %s "$2" >schema.prisma && ln -s "$3" node_modules && '
              '"$4" node_modules/prisma/build/index.js generate --schema schema.prisma >&2 && exec "$4" run.mjs')
    # The engine for migrations would be downloaded from elsewhere; generating does not run it.
    settings = ["PRISMA_SCHEMA_ENGINE_BINARY=/bin/true", "CHECKPOINT_DISABLE=1", "PRISMA_HIDE_UPDATE_MESSAGE=1"]
    return Client(heading, "javascript", "recipe.mjs", lambda _: [
        "env", *settings, "sh", "-ec", script, "sh", HERE, schema, CLIENTS / "prisma" / "node_modules", NODE], more_sql=True)


def java(heading, *args):
    script = 'javac -encoding UTF-8 -d . Recipe.java "$1" && shift && exec java -cp ".:$JDBC" Run "$@"'
    return Client(heading, "java", "Recipe.java", lambda _: [
        "env", f"JDBC={JDBC}", "sh", "-ec", script, "sh", HERE / "java" / "Run.java", *args])


def rust(name):
    """Built in a directory that is kept. A recipe that did not change is not built again."""
    script = ('mkdir -p "${RECIPE%/*}" && { cmp -s recipe.rs "$RECIPE" || cp recipe.rs "$RECIPE"; } && cd "$1" && '
              'exec cargo run --quiet --locked --bin "$2"')
    return Client(name, "rust", "recipe.rs", lambda _: [
        "env", f"RECIPE={CLIENTS / 'rust' / 'recipes' / name}.rs", f"CARGO_TARGET_DIR={CLIENTS / 'rust'}",
        "sh", "-ec", script, "sh", HERE / "rust", name])


def go(heading):
    script = 'cp "$1" run.go && exec go run recipe.go run.go'
    return Client(heading, "go", "recipe.go", lambda _: [
        "env", "GO111MODULE=off", f"GOPATH={GOPATH}", f"GOCACHE={CLIENTS / 'go'}",
        "sh", "-ec", script, "sh", HERE / "go" / "run.go"])


def ruby(heading, program):
    return Client(heading, "ruby", "recipe.rb", lambda _: ["ruby", HERE / "ruby" / program])


# `make test` runs these; `make test-clients` all.
DAILY = {
    "psycopg": python("psycopg", "with_psycopg.py"),
    "asyncpg": python("asyncpg", "with_asyncpg.py"),
    "node-postgres": node("node-postgres", "with_pg.mjs"),
}
OTHERS = {
    "SQLAlchemy": python("SQLAlchemy", "with_sqlalchemy.py", "psycopg"),
    "SQLAlchemy on asyncpg": python("SQLAlchemy", "with_sqlalchemy.py", "asyncpg"),
    "Django": python("Django", "with_django.py", recipe="recipe/models.py"),
    "Django, `server_side_binding`": python("Django", "with_django.py", "server", recipe="recipe/models.py"),
    "Knex": node("Knex", "with_knex.mjs"),
    "Drizzle": node("Drizzle", "with_drizzle.mjs"),
    "Prisma": prisma("Prisma"),
    "JDBC": java("JDBC"),
    "JDBC, `stringtype=unspecified`": java("JDBC", "&stringtype=unspecified"),
    "tokio-postgres": rust("tokio-postgres"),
    "sqlx": rust("sqlx"),
    "pgx": go("pgx"),
    "ActiveRecord": ruby("ActiveRecord", "run.rb"),
}
# Those with a block in the section on source columns, and what they read of a numeric.
BY_SOURCE = {
    "psycopg": (python("A column that keeps its type", "source_psycopg.py"), "Decimal('{}')"),
    "node-postgres": (node("A column that keeps its type", "source_pg.mjs"), '"{}"'),
}
# Those with a block in the section on views.
BY_VIEW = {
    "SQLAlchemy": python("Through a view", "view_sqlalchemy.py"),
    "Drizzle": node("Through a view", "view_drizzle.mjs"),
    "Django": python("One column for both", "view_django.py", recipe="recipe/models.py"),
    "ActiveRecord": ruby("One column for both", "view.rb"),
}
