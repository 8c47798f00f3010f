"""What the extension is made of, by the server's own catalogs: each object with its attributes, so that two databases
can be compared. Nothing is picked out: what is not named here as meaning nothing counts."""

import collections

# The members, and what comes and goes with them: columns' defaults, constraints, indexes, triggers, rules, row types.
# Not TOAST tables, which are named by number.
OBJECTS = """
WITH RECURSIVE found (classid, objid) AS (
  SELECT 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = 'pgrx-example'
  UNION
  SELECT d.classid, d.objid FROM found f
  JOIN pg_depend d ON d.refclassid = f.classid AND d.refobjid = f.objid AND d.deptype IN ('e', 'i', 'a')),
objects (classid, objid, name) AS (
  SELECT f.classid, f.objid, i.type || ' ' || i.identity FROM found f, pg_identify_object(f.classid, f.objid, 0) i
  WHERE i.schema IS DISTINCT FROM 'pg_toast')
"""

# What is said of objects elsewhere than in their own rows.
SAID = {
    "comments": """
        SELECT name, objsubid, a.attname, description FROM objects JOIN pg_description ON (classoid, objoid) =
        (classid, objid) LEFT JOIN pg_attribute a ON classid = 'pg_class'::regclass AND attrelid = objid
        AND attnum = objsubid AND attnum > 0 ORDER BY 1, 2""",
    "rights it came with": """
        SELECT name, objsubid, privtype::text, ARRAY(SELECT p::text FROM unnest(initprivs) p ORDER BY 1)
        FROM objects JOIN pg_init_privs ON (classoid, objoid) = (classid, objid) ORDER BY 1, 2""",
    "labels": """
        SELECT name, objsubid, provider, label FROM objects JOIN pg_seclabel ON (classoid, objoid) = (classid, objid)
        ORDER BY 1, 2""",
    "what it needs": """
        SELECT DISTINCT o.name, deptype::text, d.objsubid, r.type, r.identity FROM objects o JOIN pg_depend d
        USING (classid, objid), pg_identify_object(refclassid, refobjid, refobjsubid) r ORDER BY 1, 2, 3, 4, 5""",
}

# Further rows of an object, by its catalog: where they are, what names it there, what tells them apart.
FURTHER = {"pg_class": [("pg_attribute", "attrelid", "attnum"), ("pg_index", "indexrelid", "''"),
                        ("pg_inherits", "inhrelid", "''")]}

# Where and how large something is, what it went through. Some minors note a number of their own among a column's
# options; the extension sets none.
IGNORED = {
    "pg_class": ["relfilenode", "relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid",
                 "reltoastrelid"],
    "pg_attribute": ["attcacheoff", "atthasmissing", "attmissingval", "attoptions"],
}

# Definitions as SQL, in place of trees with numbers in them.
DEFINED = {
    "pg_class": "CASE relkind WHEN 'i' THEN pg_get_indexdef(t.oid) WHEN 'v' THEN pg_get_viewdef(t.oid) END",
    "pg_constraint": "pg_get_constraintdef(t.oid)",
    "pg_trigger": "pg_get_triggerdef(t.oid)",
    "pg_rewrite": "pg_get_ruledef(t.oid)",
    "pg_attrdef": "pg_get_expr(adbin, adrelid)",
    "pg_proc": "CASE WHEN prokind <> 'a' THEN pg_get_functiondef(t.oid) END",
}


def described(run):
    """Every object by its kind and name, with all that is known of it. `run` runs a statement in a database and gives
    its rows."""
    found = collections.defaultdict(dict)
    references = {(catalog, columns[0]): (other, is_array) for catalog, columns, other, is_array in run(
        "SELECT fktable::text, fkcols, pktable::oid, is_array FROM pg_get_catalog_foreign_keys() "
        "WHERE pkcols = '{oid}' AND array_length(fkcols, 1) = 1")}
    for (catalog,) in run(f"{OBJECTS} SELECT DISTINCT classid::regclass::text FROM objects ORDER BY 1"):
        for rows, named_by, key in [(catalog, "oid", "''"), *FURTHER.get(catalog, [])]:
            columns = counted(run, rows, references)
            for name, number, *values in run(
                    f"{OBJECTS} SELECT name, {key}::text, {', '.join(columns.values())} FROM objects "
                    f"JOIN pg_catalog.{rows} t ON {named_by} = objid WHERE classid = 'pg_catalog.{catalog}'::regclass"):
                of = name if rows == catalog else f"{name}, {rows} {number}"
                found[of].update(zip(columns, values, strict=True))
    for what, query in SAID.items():
        for name, *values in run(OBJECTS + query):
            found[name].setdefault(what, []).append(values)
    return dict(found)


def counted(run, catalog, references):
    """The columns of a catalog that count, and each as an expression in which names stand for numbers."""
    expressions = {}
    for name, type_name in run("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attnum > 0 "
                               "AND attrelid = %s::regclass AND NOT attisdropped", (f"pg_catalog.{catalog}",)):
        if name in ["oid", *IGNORED.get(catalog, [])] or type_name == "pg_node_tree":
            continue
        other, is_array = references.get((catalog, name), (None, None))
        if is_array:
            expressions[name] = (f"ARRAY(SELECT (pg_identify_object({other}, o, 0)).identity "
                                 f"FROM unnest(t.{name}::oid[]) WITH ORDINALITY AS u (o, n) ORDER BY n)")
        elif other:
            expressions[name] = f"CASE WHEN t.{name} <> 0 THEN (pg_identify_object({other}, t.{name}, 0)).identity END"
        elif type_name == "aclitem[]":
            expressions[name] = (f"CASE WHEN t.{name} IS NOT NULL THEN "
                                 f"ARRAY(SELECT a::text FROM unnest(t.{name}) a ORDER BY 1) END")
        elif (catalog, name) == ("pg_extension", "extconfig"):
            expressions[name] = "t.extconfig::regclass[]::text"
        else:
            expressions[name] = f"t.{name}::text"
    if catalog in DEFINED:
        expressions["definition"] = DEFINED[catalog]
    return expressions


def differences(one, other):
    """A line for each thing that only one has, or has otherwise."""
    lines = []
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            lines.append(f"{name}: only in the {'first' if name in one else 'second'}")
            continue
        for attribute in sorted(one[name].keys() | other[name].keys()):
            values = one[name].get(attribute), other[name].get(attribute)
            if values[0] != values[1]:
                lines.append(f"{name}: {attribute}: {values[0]!r} and {values[1]!r}")
    return lines
