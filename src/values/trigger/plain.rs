//! Plaintext: the bytes that are sealed for what arrives, and values of source columns back.

use std::ops::Deref;

use pgrx::pg_sys;

use super::argument::{Source, Target};
use crate::catalog::rows::Form;
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table::Policy;
use crate::pg::encoding::{self, Converted, NotText};
use crate::pg::relation::display_name;
use crate::pg::trigger::TriggerCall;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::pg::{attribute, types};
use crate::values::{FormBuf, ValueType};

/// What is sealed for a value.
pub enum Plain<'a> {
    Bytes(Varlena<'a>),
    Text(Converted<'a>),
    Form(FormBuf),
}

impl Deref for Plain<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Plain::Bytes(bytes) => bytes,
            Plain::Text(text) => text,
            Plain::Form(form) => form.as_slice(),
        }
    }
}

/// The type of what a policy's column holds, and the block that its forms are filled to; `None`: bytes as they come.
pub fn typed(policy: Option<&Policy>) -> Result<Option<(ValueType, u32)>> {
    let Some(policy) = policy.filter(|policy| policy.value_type != pg_sys::InvalidOid) else {
        return Ok(None);
    };
    let kind = match ValueType::known(policy.value_type, policy.value_typmod) {
        Err(Error::Policy(error)) if matches!(*error, PolicyError::NoType) => {
            return Err(policy.type_is_gone());
        }
        kind => kind?,
    };
    Ok(Some((kind, block(Some(policy), &kind))))
}

fn block(policy: Option<&Policy>, kind: &ValueType) -> u32 {
    policy.and_then(|policy| policy.block).map_or_else(|| kind.default_block(), i32::unsigned_abs)
}

/// What is sealed for `value`, which has arrived in clear in the column that holds sealed values.
pub fn arriving<'a>(policy: Option<&Policy>, value: Varlena<'a>) -> Result<Plain<'a>> {
    let Some((kind, block)) = typed(policy)? else { return Ok(Plain::Bytes(value)) };
    if kind.is_any_bytes() {
        return Ok(Plain::Bytes(value));
    }
    if kind.is_any_text(block) {
        let is_text = std::str::from_utf8(&value).is_ok() && !value.contains(&0);
        let not_utf8 = Error::NotUtf8 { untranslatable: false };
        return if is_text { Ok(Plain::Bytes(value)) } else { Err(not_utf8) };
    }
    let mut form = FormBuf::new();
    kind.form_of_arriving(&value, block, &mut form)?;
    Ok(Plain::Form(form))
}

/// What is sealed for `datum`, a value of the source that outlives `'a`.
pub fn of<'a>(
    call: &TriggerCall<'_>,
    policy: Option<&Policy>,
    source: Source<'_>,
    datum: pg_sys::Datum,
) -> Result<Plain<'a>> {
    require_own_type(call, policy, source)?;
    // SAFETY: a non-null value of the row, which outlives this call.
    unsafe { of_type(policy, source.kind, modifier(call, source), datum) }
}

/// What is sealed for a value of type `kind`.
///
/// # Safety
/// `datum` is a non-null value of that type, and outlives `'a`.
pub unsafe fn of_type<'a>(
    policy: Option<&Policy>,
    kind: pg_sys::Oid,
    modifier: i32,
    datum: pg_sys::Datum,
) -> Result<Plain<'a>> {
    let is_filled = policy.is_some_and(|policy| policy.block.is_some_and(|block| block > 1));
    match kind {
        // SAFETY: by contract, a bytea.
        pg_sys::BYTEAOID => Ok(Plain::Bytes(unsafe { Varlena::from_datum(datum) })),
        pg_sys::TEXTOID | pg_sys::VARCHAROID if !is_filled => {
            // SAFETY: by contract, a text.
            text(unsafe { Varlena::from_datum(datum) })
        }
        _ => {
            let kind = ValueType::known(kind, modifier)?;
            let mut form = FormBuf::new();
            // SAFETY: by contract.
            unsafe { kind.form_of(datum, block(policy, &kind), &mut form) }?;
            Ok(Plain::Form(form))
        }
    }
}

/// As it is where it is UTF-8 already.
fn text(text: Varlena<'_>) -> Result<Plain<'_>> {
    let not_utf8 = |why: NotText| Error::NotUtf8 { untranslatable: why.is_untranslatable() };
    match encoding::to_utf8(&text).map_err(not_utf8)? {
        Converted::Same(_) => {}
        Converted::Palloced(text) => return Ok(Plain::Text(Converted::Palloced(text))),
    }
    Ok(Plain::Bytes(text))
}

/// The value of the source that `opened` was sealed for.
pub fn back(call: &TriggerCall<'_>, source: Source<'_>, opened: &[u8]) -> Result<pg_sys::Datum> {
    if source.kind == pg_sys::BYTEAOID {
        return Ok(VarlenaBuf::copy_of(opened).into_datum());
    }
    type_of(call, source)?.read(opened)
}

fn type_of(call: &TriggerCall<'_>, source: Source<'_>) -> Result<ValueType> {
    ValueType::known(source.kind, modifier(call, source))
}

/// Of all types whose forms are filled one alone needs the modifier for it.
fn modifier(call: &TriggerCall<'_>, source: Source<'_>) -> i32 {
    match source.kind {
        pg_sys::NUMERICOID => attribute::type_of(call.relation_oid(), source.column).1,
        _ => -1,
    }
}

/// 42804 when the source has become one of another type than its policy says.
fn require_own_type(
    call: &TriggerCall<'_>,
    policy: Option<&Policy>,
    source: Source<'_>,
) -> Result<()> {
    let Some(policy) = policy.filter(|policy| policy.form == Form::Source) else { return Ok(()) };
    if policy.value_type == source.kind || policy.value_type == pg_sys::InvalidOid {
        return Ok(());
    }
    Err(PolicyError::WrongType {
        column: encoding::to_string(source.name.to_bytes()),
        table: display_name(call.relation_oid()),
        is: types::display_name(source.kind, -1),
        form: policy.form.name(),
        needs: types::display_name(policy.value_type, policy.value_typmod),
    }
    .into())
}

/// 22023 when `opened`, which a program has sealed by itself, is no value of the policy's type.
pub fn require_form(
    call: &TriggerCall<'_>,
    policy: Option<&Policy>,
    target: Target<'_>,
    opened: &[u8],
) -> Result<()> {
    match typed(policy)? {
        Some((kind, _)) if !kind.is_any_bytes() && !kind.is_form(opened) => {
            Err(PolicyError::OtherType {
                column: encoding::to_string(target.name.to_bytes()),
                table: display_name(call.relation_oid()),
                needs: policy
                    .map(|policy| types::display_name(policy.value_type, policy.value_typmod))
                    .unwrap_or_default(),
            }
            .into())
        }
        _ => Ok(()),
    }
}
