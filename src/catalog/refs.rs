//! Input and output of `envelope.table_ref`, `envelope.role_ref` and `envelope.type_ref`: OIDs inside,
//! names outside.
//!
//! A name that nothing bears reads as 0, so that a restore without that table, role or type succeeds.
//! Digits read as a name like any other: an OID from elsewhere never binds a stranger here.

use std::ffi::{CStr, CString};

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{pg_extern, pg_sys};

use crate::pg::varlena::VarlenaBuf;
use crate::pg::{acl, relation, types, wire};

/// What is written for an OID that nothing bears.
const GONE: &CStr = c"-";

/// An OID as a datum, 0 too: pgrx's own conversion makes SQL NULL of 0.
struct Ref(pg_sys::Oid);

// SAFETY: all three types are passed by value, as oid is.
unsafe impl BoxRet for Ref {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0)) }
    }
}

pgrx::impl_sql_translatable!(Ref, "oid");

#[pg_extern(sql = false)]
fn table_ref_in(name: &CStr) -> Ref {
    table_named(name)
}

#[pg_extern(sql = false)]
fn table_ref_out(table: pg_sys::Oid) -> CString {
    table_name(table)
}

#[pg_extern(sql = false)]
fn table_ref_recv(fcinfo: pg_sys::FunctionCallInfo) -> Ref {
    // SAFETY: PostgreSQL calls a receive function with its message.
    table_named(unsafe { wire::received_text(fcinfo) })
}

/// The binary form is the text form, in the client's encoding.
#[pg_extern(sql = false)]
fn table_ref_send(table: pg_sys::Oid) -> VarlenaBuf {
    wire::text_to_send(&table_name(table))
}

#[pg_extern(sql = false)]
fn role_ref_in(name: &CStr) -> Ref {
    role_named(name)
}

#[pg_extern(sql = false)]
fn role_ref_out(role: pg_sys::Oid) -> CString {
    role_name(role)
}

#[pg_extern(sql = false)]
fn role_ref_recv(fcinfo: pg_sys::FunctionCallInfo) -> Ref {
    // SAFETY: as in `table_ref_recv`.
    role_named(unsafe { wire::received_text(fcinfo) })
}

#[pg_extern(sql = false)]
fn role_ref_send(role: pg_sys::Oid) -> VarlenaBuf {
    wire::text_to_send(&role_name(role))
}

#[pg_extern(sql = false)]
fn type_ref_in(name: &CStr) -> Ref {
    type_named(name)
}

#[pg_extern(sql = false)]
fn type_ref_out(kind: pg_sys::Oid) -> CString {
    type_name(kind)
}

#[pg_extern(sql = false)]
fn type_ref_recv(fcinfo: pg_sys::FunctionCallInfo) -> Ref {
    // SAFETY: as in `table_ref_recv`.
    type_named(unsafe { wire::received_text(fcinfo) })
}

#[pg_extern(sql = false)]
fn type_ref_send(kind: pg_sys::Oid) -> VarlenaBuf {
    wire::text_to_send(&type_name(kind))
}

fn table_named(name: &CStr) -> Ref {
    let table = if name == GONE { None } else { relation::named(name) };
    Ref(table.unwrap_or(pg_sys::InvalidOid))
}

fn table_name(table: pg_sys::Oid) -> CString {
    relation::quoted_cstring(table).unwrap_or_else(|| GONE.to_owned())
}

fn role_named(name: &CStr) -> Ref {
    let role = if name == GONE { None } else { acl::role_named(name) };
    Ref(role.unwrap_or(pg_sys::InvalidOid))
}

fn role_name(role: pg_sys::Oid) -> CString {
    acl::quoted_role(role).unwrap_or_else(|| GONE.to_owned())
}

fn type_named(name: &CStr) -> Ref {
    let kind = if name == GONE { None } else { types::named(name) };
    Ref(kind.map_or(pg_sys::InvalidOid, |(kind, _)| kind))
}

fn type_name(kind: pg_sys::Oid) -> CString {
    types::quoted(kind, -1).unwrap_or_else(|| GONE.to_owned())
}
