//! The columns that are protected, or should be: with a policy, named by a sealing trigger, registered, inherited
//! from such a column, or in a table that was lent the keyring of one.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{self, SpiHeapTupleData};

use super::{Finding, Scope};
use crate::catalog::{shards, tables};
use crate::error::Result;
use crate::pg::datum::oid_as;

/// One array a property, as queries take them.
#[derive(Default)]
pub struct Columns {
    pub scope: Scope,
    pub relations: Vec<pg_sys::Oid>,
    pub numbers: Vec<i16>,
    /// Where plaintext comes in, of `target=source`; 0: in the column itself.
    pub sources: Vec<i16>,
    /// It has a policy.
    pub policies: Vec<bool>,
    /// A sealing trigger of the table names it.
    pub triggered: Vec<bool>,
    registered: Vec<bool>,
    /// The table inherits it (INHERITS, not as a partition) from one with a policy or a trigger.
    heirs: Vec<bool>,
    /// The table may open with the keyring of another one, which has such a column of the same name.
    copies: Vec<bool>,
    /// A CHECK by `envelope.is_sealed` refuses plaintext.
    guarded: Vec<bool>,
    /// The policy binds the value to other columns.
    bound: Vec<bool>,
    /// The source keeps its plaintext for the time being: `envelope_mirror`.
    pub mirrored: Vec<bool>,
    /// The CHECK says nothing else, and holds for all rows.
    pub proven: Vec<bool>,
    /// The shards of distributed tables, and the tables that they are ones of.
    shards: (Vec<pg_sys::Oid>, Vec<pg_sys::Oid>),
}

impl Columns {
    /// All that the scope has.
    pub fn of(scope: Scope) -> Result<Columns> {
        let shards = shards::all_here()?.into_iter().unzip();
        let mut columns = Columns { scope, shards, ..Columns::default() };
        let sql = format!("{SHARED} {COLUMNS}");
        for row in tables::ask(&sql, &columns.arguments(), read)? {
            columns.relations.push(row.0);
            columns.numbers.push(row.1);
            columns.sources.push(row.2);
            let flags = [
                &mut columns.policies,
                &mut columns.triggered,
                &mut columns.registered,
                &mut columns.heirs,
                &mut columns.copies,
                &mut columns.guarded,
                &mut columns.bound,
                &mut columns.mirrored,
                &mut columns.proven,
            ];
            for (at, flag) in flags.into_iter().enumerate() {
                flag.push(row.3 & (1 << at) != 0);
            }
        }
        Ok(columns)
    }

    /// The findings of one query. It may use what [`SHARED`] and [`COL`] define, and gives relation, column name,
    /// severity, SQLSTATE, message and remedy.
    pub fn ask(&self, sql: &str) -> Result<Vec<Finding>> {
        let sql = format!("{SHARED}, {COL} {FINDINGS_BEGIN} {sql} {FINDINGS_END}");
        tables::ask(&sql, &self.arguments(), tables::said)?
            .into_iter()
            .map(Finding::try_from)
            .collect()
    }

    /// Whether nobody has said more of a column than that it holds sealed values.
    pub fn is_only_registered(&self, at: usize) -> bool {
        let others =
            [&self.policies, &self.triggered, &self.heirs, &self.copies].map(|flags| flags[at]);
        !others.contains(&true)
    }

    /// What `read` makes of each row of a query, which may use what [`SHARED`] defines.
    pub fn query<T>(
        &self,
        sql: &str,
        read: fn(SpiHeapTupleData<'_>) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        tables::ask(&format!("{SHARED} {sql}"), &self.arguments(), read)
    }

    fn arguments(&self) -> [DatumWithOid<'_>; 17] {
        [
            tables::extension(),
            self.scope.role.into(),
            oid_as(pg_sys::OIDOID, self.scope.top),
            self.scope.only_own.into(),
            self.relations.clone().into(),
            self.numbers.clone().into(),
            self.sources.clone().into(),
            self.policies.clone().into(),
            self.triggered.clone().into(),
            self.registered.clone().into(),
            self.heirs.clone().into(),
            self.copies.clone().into(),
            self.guarded.clone().into(),
            self.bound.clone().into(),
            self.mirrored.clone().into(),
            self.shards.0.clone().into(),
            self.shards.1.clone().into(),
        ]
    }
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { role: pg_sys::InvalidOid, top: pg_sys::InvalidOid, only_own: true }
    }
}

fn read(row: SpiHeapTupleData<'_>) -> spi::Result<(pg_sys::Oid, i16, i16, i32)> {
    let relation = row.get(1)?.unwrap_or(pg_sys::InvalidOid);
    let (number, source) = (row.get(2)?.unwrap_or_default(), row.get(3)?.unwrap_or_default());
    Ok((relation, number, source, row.get(4)?.unwrap_or_default()))
}

/// What all queries may use:
/// - `member`, the extension's functions;
/// - `shard`, the shards of distributed tables, with the table of each;
/// - `sealable`, the types that hold sealed values;
/// - `visible`, the tables in the scope, with `tab`, their quoted names;
/// - `trig`, the sealing triggers;
/// - `named`, their arguments, `target` or `target=source`;
/// - `call`, the same as CREATE TRIGGER has them;
/// - `policy`, the register, in which a catalog of before 0.2 has no policies.
///
/// The arguments of a trigger stand one after the other, each with a zero byte at its end.
const SHARED: &str = r"
WITH RECURSIVE member AS (
  SELECT p.oid, p.proname, p.prosrc, p.pronamespace, p.provolatile
  FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
  WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = convert_from($1, 'UTF8'))
), sealable (oid) AS (
  SELECT t.oid FROM pg_type t
  WHERE t.oid = 'bytea'::regtype
     OR t.typname = 'sealed' AND t.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'envelope')
  UNION SELECT t.oid FROM pg_type t JOIN sealable s ON t.typbasetype = s.oid
), shard AS (
  SELECT * FROM unnest($16::oid[], $17::oid[]) AS u (relation, whole)
), below_top (oid) AS (
  SELECT $3 WHERE $3 <> 0
  UNION
  SELECT i.relation FROM below_top b
  JOIN (SELECT inhrelid, inhparent FROM pg_inherits UNION ALL TABLE shard) AS i (relation, whole) ON i.whole = b.oid
), visible AS (
  SELECT c.oid, c.relkind, c.relowner, c.relispartition, format('%I.%I', n.nspname, c.relname) AS tab
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384 AND n.nspname <> 'envelope'
    AND CASE WHEN $3 <> 0 THEN c.oid IN (SELECT oid FROM below_top)
             ELSE pg_has_role($2, c.relowner, 'USAGE') OR NOT $4 AND pg_has_role($2, 'pg_monitor', 'USAGE') END
), trig AS (
  SELECT t.oid, t.tgrelid, t.tgname, t.tgparentid, t.tgtype, t.tgenabled, t.tgattr, t.tgnargs, t.tgargs,
         t.tgqual IS NOT NULL AS conditional, m.prosrc = 'envelope_mirror_wrapper' AS mirrors,
         format('%I.%I', n.nspname, m.proname) AS function
  FROM pg_trigger t JOIN member m ON m.oid = t.tgfoid AND m.prosrc IN ('envelope_seal_wrapper', 'envelope_mirror_wrapper')
  JOIN pg_namespace n ON n.oid = m.pronamespace
), argument AS (
  SELECT t.oid, t.tgrelid, h.at, convert_from(decode(replace(h.hex, ' ', ''), 'hex'), getdatabaseencoding()) AS argument
  FROM trig t
  CROSS JOIN LATERAL regexp_split_to_table(regexp_replace(encode(t.tgargs, 'hex'), '(..)', '\1 ', 'g'), '00 ')
    WITH ORDINALITY AS h (hex, at)
  WHERE h.at <= t.tgnargs
), named AS (
  SELECT oid, tgrelid, at, argument, split_part(argument, '=', 1) AS target,
         CASE WHEN strpos(argument, '=') > 0 THEN substr(argument, strpos(argument, '=') + 1) END AS source
  FROM argument
), policy AS (
  SELECT s.id, s.relation::oid AS relation, s.column_name, s.bound_columns, to_jsonb(s) ->> 'form' AS form,
         to_jsonb(s) ->> 'source' AS source, to_jsonb(s) ->> 'former_bound' AS former_bound
  FROM envelope.sealed_column s
), call AS (
  SELECT oid, string_agg(quote_literal(argument), ', ' ORDER BY at) AS arguments FROM argument GROUP BY oid
)";

/// The columns, with their flags as bits.
const COLUMNS: &str = r", direct AS (
  SELECT s.relation, s.column_name::text AS target, s.source,
         CASE WHEN s.form IS NULL THEN 4 ELSE 1 END
         | CASE WHEN s.form IS NOT NULL AND s.bound_columns <> '{}' THEN 64 ELSE 0 END AS flags
  FROM policy s
  UNION ALL
  SELECT n.tgrelid, n.target, n.source, CASE WHEN t.mirrors THEN 130 ELSE 2 END FROM named n JOIN trig t ON t.oid = n.oid
), heir AS (
  SELECT i.inhrelid AS relation, d.target
  FROM direct d JOIN pg_inherits i ON i.inhparent = d.relation JOIN pg_class c ON c.oid = i.inhrelid
  WHERE d.flags & 3 <> 0 AND NOT c.relispartition
  UNION SELECT i.inhrelid, h.target FROM heir h JOIN pg_inherits i ON i.inhparent = h.relation
), every AS (
  SELECT relation, target, source, flags FROM direct
  UNION ALL SELECT relation, target, NULL, 8 FROM heir
  -- A shard has what its table has. Where that has a trigger, it has one of its own.
  UNION ALL
  SELECT s.relation, d.target, NULL, CASE WHEN d.flags & 2 <> 0 THEN 8 ELSE 4 END
  FROM shard s JOIN direct d ON d.relation = s.whole
  UNION ALL
  SELECT k.relation::oid, d.target, NULL, 16
  FROM envelope.keyring_table k
  JOIN envelope.keyring_table o ON o.keyring_id = k.keyring_id AND o.seals AND o.relation::oid <> k.relation::oid
  JOIN direct d ON d.relation = o.relation::oid AND d.flags & 3 <> 0
  WHERE NOT k.seals
), guard AS (
  SELECT k.conrelid, k.conkey, k.contypid,
         k.convalidated AND pg_get_constraintdef(k.oid) ~ '^CHECK \(+envelope\.is_sealed\([^()]*\)( IS NOT FALSE)?\)+$' AS proves
  FROM pg_depend d JOIN member m ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = m.oid AND m.proname = 'is_sealed'
  JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype = 'c'
  WHERE COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true)
), guarded AS (
  SELECT g.conrelid, n.attnum, bool_or(g.proves AND cardinality(g.conkey) = 1) AS proves
  FROM guard g CROSS JOIN LATERAL unnest(g.conkey) AS n (attnum) GROUP BY g.conrelid, n.attnum
), guarded_type (oid) AS (
  SELECT contypid FROM guard WHERE contypid <> 0
  UNION SELECT t.oid FROM pg_type t JOIN guarded_type g ON t.typbasetype = g.oid
)
SELECT e.relation, a.attnum, COALESCE(max(s.attnum), 0::smallint),
       bit_or(e.flags) | CASE WHEN a.atttypid IN (SELECT oid FROM guarded_type) OR bool_or(g.attnum IS NOT NULL)
                              THEN 32 ELSE 0 END
       | CASE WHEN bool_or(g.proves) THEN 256 ELSE 0 END
FROM every e JOIN visible v ON v.oid = e.relation
JOIN pg_attribute a ON a.attrelid = e.relation AND a.attname = e.target AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN guarded g ON g.conrelid = e.relation AND g.attnum = a.attnum
LEFT JOIN pg_attribute s ON s.attrelid = e.relation AND s.attname = e.source AND s.attnum > 0 AND NOT s.attisdropped
WHERE a.atttypid IN (SELECT oid FROM sealable)
GROUP BY e.relation, a.attnum, a.atttypid";

/// `col`, those columns again: with their tables' and their own quoted names, and `below`, which says that a table
/// above is looked at, too, that this one is a partition of.
const COL: &str = r"col AS (
  SELECT u.*, v.relkind, v.relowner, v.tab, a.attname AS name, quote_ident(a.attname) AS col, a.atttypid,
         s.attname AS source_name, quote_ident(s.attname) AS source_col,
         v.relispartition AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = v.oid AND i.inhparent = ANY ($5))
           AS below
  FROM unnest($5::oid[], $6::smallint[], $7::smallint[], $8::boolean[], $9::boolean[], $10::boolean[], $11::boolean[],
              $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[])
    AS u (relation, attnum, source, policy, triggered, registered, heir, copy, guarded, bound, mirrored)
  JOIN visible v ON v.oid = u.relation
  JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum
  LEFT JOIN pg_attribute s ON s.attrelid = u.relation AND s.attnum = u.source AND u.source <> 0
)";

const FINDINGS_BEGIN: &str = r"
SELECT convert_to(format('%I.%I', n.nspname, c.relname), getdatabaseencoding()),
       convert_to(COALESCE(f.column_name, ''), getdatabaseencoding()), f.severity, f.sqlstate,
       convert_to(f.message, getdatabaseencoding()), convert_to(f.remedy, getdatabaseencoding())
FROM (";
const FINDINGS_END: &str = r") AS f (relation, column_name, severity, sqlstate, message, remedy)
JOIN pg_class c ON c.oid = f.relation JOIN pg_namespace n ON n.oid = c.relnamespace";
