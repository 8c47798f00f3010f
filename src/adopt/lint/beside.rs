//! What else sees a row before it is stored: other BEFORE triggers, rules, and triggers that seal by themselves.

/// The queries that find errors, and perhaps more.
pub const ERRORS: &[&str] = &[TRIGGERS, MOVING, RULES];
/// Those that find none.
pub const OTHERS: &[&str] = &[OWN_SEALING];

/// Other BEFORE ROW triggers. One that fires first sees plaintext; one that fires later can put it back, where no CHECK
/// refuses that. Functions whose source is SQL text are read: one that names neither the column nor the whole row has
/// nothing to do with it. Of others nothing is known.
const TRIGGERS: &str = r#"
SELECT b.relation, b.name, CASE WHEN b.first AND b.uses THEN 'error' ELSE 'warning' END, '42P17',
       format(CASE WHEN b.first AND b.uses THEN 'trigger %I fires before the sealing trigger %I, and reads column %s in clear'
                   WHEN b.first THEN 'trigger %I fires before the sealing trigger %I, and may read column %s in clear'
                   ELSE 'trigger %I fires after the sealing trigger %I, and can put plaintext into column %s: no CHECK '
                     || 'refuses it' END, b.other, b.seal, b.place),
       CASE WHEN b.first AND b.seal_is_cloned THEN format('ALTER TRIGGER %I ON %s RENAME TO %I', b.other, b.tab, left('zz_' || b.other, 60))
            WHEN b.first THEN format('ALTER TRIGGER %I ON %s RENAME TO %I', b.seal, b.tab, b.sooner)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (envelope.is_sealed(%s)) NOT VALID', b.tab,
                        left(b.name, 50) || '_is_sealed', b.col) END
FROM (
  SELECT s.relation, s.name::text AS name, s.col, s.tab, COALESCE(s.source_col, s.col) AS place, s.guarded,
         o.tgname AS other, o.tgname < s.seal::name AS first, s.seal, s.seal_is_cloned,
         left(CASE WHEN min(o.tgname::text COLLATE "C") OVER (PARTITION BY s.relation) > '00_' || s.seal THEN '00_' ELSE '!' END
              || s.seal, 60) AS sooner,
         COALESCE(r.source ~* ('\mnew\s*\.\s*("' || e.name || '"|' || e.name || '\M)')
                  OR r.source ~* '\mnew\M(?!\s*\.\s*["\w])', f.proname ~ '^tsvector_update_trigger') AS uses,
         r.source IS NULL AND l.lanname <> 'internal' AS is_unknown
  FROM (
    SELECT c.relation, c.attnum, c.name, c.col, c.tab, c.guarded, c.source_name, c.source_col, c.below,
           min(t.tgname::text COLLATE "C") AS seal, bool_or(t.tgparentid <> 0) AS seal_is_cloned
    FROM col c JOIN named n ON n.tgrelid = c.relation AND n.target = c.name JOIN trig t ON t.oid = n.oid
    WHERE t.tgtype & 3 = 3 AND t.tgenabled IN ('O', 'A')
    GROUP BY c.relation, c.attnum, c.name, c.col, c.tab, c.guarded, c.source_name, c.source_col, c.below
  ) AS s
  JOIN pg_trigger o ON o.tgrelid = s.relation AND NOT o.tgisinternal AND o.tgtype & 3 = 3 AND o.tgtype & 20 <> 0
   AND o.tgenabled IN ('O', 'A') AND o.oid NOT IN (SELECT oid FROM trig)
   AND NOT (s.below AND o.tgparentid <> 0)
  JOIN pg_proc f ON f.oid = o.tgfoid JOIN pg_language l ON l.oid = f.prolang
  CROSS JOIN LATERAL (
    SELECT regexp_replace(COALESCE(s.source_name, s.name)::text, '([^[:alnum:]_])', '\\\1', 'g') AS name
  ) AS e
  CROSS JOIN LATERAL (
    SELECT CASE WHEN l.lanname = 'plpgsql' AND octet_length(f.prosrc) <= 1000000
                THEN regexp_replace(regexp_replace(regexp_replace(f.prosrc, '--[^\n]*', '', 'g'), '/\*.*?\*/', '', 'g'),
                                    '\mreturn\s+new\M', '', 'gi') END AS source
  ) AS r
) AS b
WHERE (b.uses OR b.is_unknown) AND (b.first OR NOT b.guarded)"#;

/// Triggers that give a bound column another value once what is bound to it is sealed: it never opens. Only assignments
/// in PL/pgSQL are seen.
const MOVING: &str = r#"
SELECT s.relation, s.name::text, 'error', '42P17',
       format('trigger %I fires after the sealing trigger %I, and changes column %I, to which values of column %s are '
              || 'bound: they do not open', o.tgname, s.seal, k.name, s.col),
       format('ALTER TRIGGER %I ON %s RENAME TO %I', o.tgname, s.tab, left('!' || o.tgname, 60))
FROM (
  SELECT c.relation, c.name, c.col, c.tab, c.below, max(t.tgname::text COLLATE "C") AS seal
  FROM col c JOIN named n ON n.tgrelid = c.relation AND n.target = c.name JOIN trig t ON t.oid = n.oid
  WHERE c.bound AND t.tgtype & 3 = 3 AND t.tgenabled IN ('O', 'A')
  GROUP BY c.relation, c.name, c.col, c.tab, c.below
) AS s
JOIN envelope.sealed_column p ON p.column_name = s.name
 AND (p.relation::oid = s.relation OR p.relation::oid IN (SELECT a.relid::oid FROM pg_partition_ancestors(s.relation) a))
CROSS JOIN unnest(p.bound_columns) AS k (name)
JOIN pg_trigger o ON o.tgrelid = s.relation AND NOT o.tgisinternal AND o.tgtype & 3 = 3 AND o.tgtype & 20 <> 0
 AND o.tgenabled IN ('O', 'A') AND o.tgname > s.seal::name AND o.oid NOT IN (SELECT oid FROM trig)
 AND NOT (s.below AND o.tgparentid <> 0)
JOIN pg_proc f ON f.oid = o.tgfoid AND octet_length(f.prosrc) <= 1000000
JOIN pg_language l ON l.oid = f.prolang AND l.lanname = 'plpgsql'
CROSS JOIN LATERAL (SELECT regexp_replace(k.name, '([^[:alnum:]_])', '\', 'g') AS name) AS e
WHERE regexp_replace(regexp_replace(f.prosrc, '--[^
]*', '', 'g'), '/\*.*?\*/', '', 'g')
      ~* ('(^|;|\mbegin|\mthen|\melse|\mloop|\minto)\s*new\s*\.\s*("' || e.name || '"|' || e.name || '\M)\s*(:?=|;|,|\mfrom\M)')"#;

/// Rules are applied before any trigger fires: what they do with the column they do in clear.
const RULES: &str = r"
SELECT c.relation, c.name::text, CASE WHEN r.is_instead THEN 'warning' ELSE 'error' END, '42P17',
       format(CASE WHEN r.is_instead THEN 'rule %I does something else INSTEAD, with column %s in clear'
                   ELSE 'rule %I ALSO does something else, with column %s in clear' END,
              r.rulename, COALESCE(c.source_col, c.col)),
       format('DROP RULE %I ON %s', r.rulename, c.tab)
FROM col c JOIN pg_rewrite r ON r.ev_class = c.relation
WHERE r.ev_type IN ('2', '3') AND r.ev_enabled IN ('O', 'A') AND (c.policy OR c.triggered OR c.heir)
  AND (r.ev_action::text ~ ':varattno 0 '
       OR EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                    AND d.refobjid = c.relation AND d.refobjsubid = CASE c.source WHEN 0 THEN c.attnum ELSE c.source END))";

/// BEFORE triggers of people's own that seal. Without a look at what they get, they seal the stored value anew in every
/// UPDATE.
const OWN_SEALING: &str = r"
SELECT v.oid, NULL, 'warning', '42P17',
       format('trigger %I seals by itself, by function %s, which does not look whether the value is sealed: an UPDATE '
              || 'may seal it twice', t.tgname, t.tgfoid::regproc),
       'Let the function leave alone what envelope.is_sealed finds sealed, or put a policy and the trigger '
       || 'envelope_seal in its place.'
FROM visible v JOIN pg_trigger t ON t.tgrelid = v.oid AND NOT t.tgisinternal AND t.tgtype & 3 = 3 AND t.tgtype & 16 <> 0
JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_language l ON l.oid = f.prolang
WHERE t.tgenabled IN ('O', 'A') AND t.tgparentid = 0 AND l.lanname NOT IN ('internal', 'c')
  AND CASE WHEN octet_length(f.prosrc) <= 1000000
           THEN f.prosrc ~* '\menvelope_encrypt' AND f.prosrc !~* '\m(is_sealed|key_id_of)\M|\mold\s*\.' END";
