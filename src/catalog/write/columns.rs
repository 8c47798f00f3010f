//! The register of columns that hold sealed values.

use std::ffi::CString;

use pgrx::pg_sys;
use uuid::Uuid;

use super::{execute, pg_uuid, random_uuid, touch, type_ref};
use crate::catalog::rows::PolicyRow;
use crate::error::{Error, Result};
use crate::pg::encoding;

/// Registers a column as holding sealed values; false when it was already.
pub fn register(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "INSERT INTO envelope.sealed_column (id, relation, column_name, tag)
         VALUES ($1, $2::regclass, convert_from($3, 'UTF8')::name, convert_from($3, 'UTF8'))
         ON CONFLICT DO NOTHING",
        &[pg_uuid(random_uuid()?), relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows == 1)
}

/// Takes a column off the register; false when it was not there.
pub fn unregister(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "DELETE FROM envelope.sealed_column
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name",
        &[relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows > 0)
}

/// Writes a policy in the place of the row that the column has, if it has one.
pub fn set_policy(policy: &PolicyRow) -> Result<()> {
    let source = policy.source.as_ref().map(|source| encoding::to_string(source.to_bytes()));
    let former = policy.former.as_ref();
    execute(
        "INSERT INTO envelope.sealed_column AS c
           (id, relation, column_name, tag, bound_columns, form, value_type, value_typmod, source, block, mask,
            former_tag, former_bound)
         VALUES ($1, $2::regclass, convert_from($3, 'UTF8')::name, convert_from($4, 'UTF8'),
                 ARRAY(SELECT b.e FROM jsonb_array_elements_text(convert_from($5, 'UTF8')::jsonb)
                       WITH ORDINALITY AS b (e, n) ORDER BY b.n),
                 convert_from($6, 'UTF8'), $7, $8, convert_from($9, 'UTF8')::name, $10, convert_from($11, 'UTF8'),
                 convert_from($12, 'UTF8'),
                 CASE WHEN $13 IS NOT NULL THEN
                   ARRAY(SELECT b.e FROM jsonb_array_elements_text(convert_from($13, 'UTF8')::jsonb)
                         WITH ORDINALITY AS b (e, n) ORDER BY b.n) END)
         ON CONFLICT (relation, column_name) WHERE relation::oid <> 0::oid DO UPDATE SET
           tag = excluded.tag, bound_columns = excluded.bound_columns, form = excluded.form,
           value_type = excluded.value_type, value_typmod = excluded.value_typmod, source = excluded.source,
           block = excluded.block, mask = excluded.mask, former_tag = excluded.former_tag,
           former_bound = excluded.former_bound",
        &[
            pg_uuid(policy.id),
            policy.relation.into(),
            encoding::to_string(policy.column_name.to_bytes()).as_bytes().into(),
            policy.tag.as_bytes().into(),
            names_json(&policy.bound_columns)?.into(),
            policy.form.name().as_bytes().into(),
            type_ref(policy.value_type)?,
            policy.value_typmod.into(),
            source.as_deref().map(str::as_bytes).into(),
            policy.block.into(),
            policy.mask.as_deref().map(str::as_bytes).into(),
            former.map(|former| former.tag.as_bytes()).into(),
            former.map(|former| names_json(&former.bound_columns)).transpose()?.into(),
        ],
    )
}

/// Changes the policy with that id: its names, and the type of its values.
pub fn update_policy(policy: &PolicyRow) -> Result<()> {
    let text = |name: &CString| encoding::to_string(name.to_bytes());
    let former = policy.former.as_ref();
    execute(
        "UPDATE envelope.sealed_column SET
           column_name = convert_from($2, 'UTF8')::name, source = convert_from($3, 'UTF8')::name,
           bound_columns = ARRAY(SELECT b.e FROM jsonb_array_elements_text(convert_from($4, 'UTF8')::jsonb)
                                 WITH ORDINALITY AS b (e, n) ORDER BY b.n),
           former_bound = CASE WHEN $5 IS NOT NULL THEN
             ARRAY(SELECT b.e FROM jsonb_array_elements_text(convert_from($5, 'UTF8')::jsonb)
                   WITH ORDINALITY AS b (e, n) ORDER BY b.n) END,
           value_type = $6, value_typmod = $7
         WHERE id = $1",
        &[
            pg_uuid(policy.id),
            text(&policy.column_name).as_bytes().into(),
            policy.source.as_ref().map(text).as_deref().map(str::as_bytes).into(),
            names_json(&policy.bound_columns)?.into(),
            former.map(|former| names_json(&former.bound_columns)).transpose()?.into(),
            type_ref(policy.value_type)?,
            policy.value_typmod.into(),
        ],
    )
}

/// Forgets the column whose row has that id.
pub fn forget(id: Uuid) -> Result<()> {
    execute("DELETE FROM envelope.sealed_column WHERE id = $1", &[pg_uuid(id)])
}

/// Makes a policy a registered column; false when there was none.
pub fn drop_policy(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "UPDATE envelope.sealed_column
         SET form = NULL, value_type = DEFAULT, value_typmod = DEFAULT, source = NULL, block = NULL, mask = NULL,
             former_tag = NULL, former_bound = NULL
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name AND form IS NOT NULL",
        &[relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows > 0)
}

/// From now on values of a column's former row context are refused; false when there was none.
pub fn binding_done(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "UPDATE envelope.sealed_column SET former_tag = NULL, former_bound = NULL
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name AND former_bound IS NOT NULL",
        &[relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows > 0)
}

/// Names for a statement, in UTF-8.
fn names_json(names: &[String]) -> Result<Vec<u8>> {
    serde_json::to_vec(names).map_err(|error| Error::Corrupt(error.to_string()))
}
