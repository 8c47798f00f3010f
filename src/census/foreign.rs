//! What a foreign table still holds, by a SELECT that goes through its server. On what that sees a key is destroyed, so
//! it counts only where it sees all that is committed there:
//!
//! - the table is one of postgres_fdw, whose transactions elsewhere are known;
//! - who writes to it from here is kept out. postgres_fdw commits there before the lock is free here;
//! - the transaction there began after that. It sees no more than what was committed when it began, and this
//!   transaction may have begun it before;
//! - the server hides no rows: it was told to refuse instead.
//!
//! Whoever writes there in another way is neither kept out nor waited for.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys;

use crate::catalog::tables;
use crate::census::look::ALL_BYTES;
use crate::error::{Error, NoProof, Place, Result, Unseen};
use crate::pg::foreign::{self, Server};
use crate::pg::owner::ActingAsOwner;
use crate::pg::quote::Sql;
use crate::pg::relation::{self, display_name, quoted_cstring};
use crate::pg::{acl, column, cursor, encoding, extension, lock, report, xact};

const WRAPPER: &CStr = c"postgres_fdw";

/// The first value in `columns` of the foreign table `relation` whose header `is_wanted`; an error where a SELECT would
/// not prove that there is none.
pub fn find(
    relation: pg_sys::Oid,
    columns: &[i16],
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    // What is cut off is not kept in memory. The type is a domain over bytea, or one that is stored as it.
    let end = format!("::pg_catalog.bytea, 1, {HEADER_LEN})");
    let head = |name: &CStr| Sql::new("pg_catalog.substr(").name(name).sql(&end);
    first(relation, columns, HEADER_LEN, head, is_wanted)
}

/// As [`find`], of one column of any type of variable length, by all bytes of its values.
pub fn find_any(
    relation: pg_sys::Oid,
    column: i16,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    first(relation, &[column], ALL_BYTES, |name| Sql::new("").name(name), is_wanted)
}

fn first(
    relation: pg_sys::Oid,
    columns: &[i16],
    bytes: usize,
    expression: impl Fn(&CStr) -> Sql,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    let refused = |why: NoProof| Error::CannotLook {
        column: columns.first().and_then(|at| column::name(relation, *at)).unwrap_or_default(),
        unseen: Unseen::Foreign(why),
        table: display_name(relation),
    };
    let server = foreign::server(relation)
        .filter(|server| extension::owns_function(WRAPPER, server.handler))
        .ok_or_else(|| refused(NoProof::OtherWrapper))?;
    let name = encoding::to_string(server.name.to_bytes());
    if !may_read_as_owner(relation, columns) {
        return Err(refused(NoProof::NotItsOwners));
    }
    if !lock::keeps_writers_out(relation) {
        return Err(refused(NoProof::NotLocked));
    }
    if !server.options.as_deref().is_some_and(refuses_to_hide) {
        return Err(refused(NoProof::RowSecurity(name)));
    }
    if !sees_all(&server, relation)? {
        return Err(refused(NoProof::ReadBefore(name)));
    }
    // In the server's own bytes: what stands for those that are no UTF-8 could be the name of another table.
    let names = columns.iter().filter_map(|at| column::raw_name(relation, *at));
    let expressions: Vec<Sql> = names.map(|name| expression(&name)).collect();
    let table =
        quoted_cstring(relation).ok_or_else(|| Error::NoRelation(display_name(relation)))?;
    let sql = Sql::new("SELECT ").joined(&expressions, ", ").sql(" FROM ONLY ").quoted(&table);
    let found = {
        let _owner =
            ActingAsOwner::of_relation(relation).ok_or_else(|| refused(NoProof::NotItsOwners))?;
        let sql = sql.to_cstring();
        cursor::each_value(&sql, expressions.len(), bytes, |at, value| {
            if is_wanted(value) { Err((at, peek_key_id(value))) } else { Ok(()) }
        })
        .map_err(Error::Corrupt)?
    };
    if let Err((at, key)) = found {
        let column = columns.get(at).and_then(|at| column::name(relation, *at));
        let table = display_name(relation);
        return Ok(Some(Place { table, column: column.unwrap_or_default(), row: None, key }));
    }
    report::notice_at_length(
        format!("foreign table {} was searched through server \"{name}\"", display_name(relation)),
        "Nothing was found by a SELECT of all of its rows. Whoever writes there in another way than \
         through this table was neither kept out nor waited for.",
        "",
    );
    Ok(None)
}

/// Whether to read as the table's owner gives nobody what they have not: that owner's user mapping is the caller's to use,
/// and what domains check is code of nobody's but the owner's, or a superuser's.
fn may_read_as_owner(relation: pg_sys::Oid, columns: &[i16]) -> bool {
    let Some(owner) = relation::owner(relation) else { return false };
    acl::has_rights_of(acl::current_role(), owner)
        && columns
            .iter()
            .flat_map(|at| column::domains(relation, *at))
            .all(|of| of == owner || acl::is_superuser_role(of))
}

/// Whether what libpq sends along has the server refuse a query from which row security would hide rows.
fn refuses_to_hide(options: &CStr) -> bool {
    let options = options.to_string_lossy();
    // Backslashes quote blanks: what they are in is not taken apart here.
    if options.contains('\\') {
        return false;
    }
    let mut words = options.split_ascii_whitespace();
    let mut last = None;
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        let (name, value) = setting.and_then(|it| it.split_once('=')).unwrap_or_default();
        if name.replace('-', "_").eq_ignore_ascii_case("row_security") {
            last = Some(value.to_ascii_lowercase());
        }
    }
    matches!(last.as_deref(), Some("off" | "false" | "no" | "0"))
}

/// The transactions that this one has begun on other servers for a look.
struct Begun {
    /// This transaction's number.
    within: u64,
    /// By server: the innermost transaction or savepoint at that moment, and the foreign tables to which writers were
    /// kept out by then.
    servers: HashMap<pg_sys::Oid, (u32, HashSet<pg_sys::Oid>)>,
}

thread_local! {
    static BEGUN: RefCell<Option<Begun>> = const { RefCell::new(None) };
}

/// Whether a SELECT of `relation`, to which writers are kept out, sees all that they have committed on `server`: no
/// transaction was begun there before they were kept out.
fn sees_all(server: &Server, relation: pg_sys::Oid) -> Result<bool> {
    if !tables::begins_anew_at(server.oid)? {
        return Ok(BEGUN.with_borrow(|begun| {
            let begun = begun.as_ref().filter(|begun| begun.within == xact::number());
            begun
                .and_then(|begun| begun.servers.get(&server.oid))
                .is_some_and(|(sub, kept)| xact::is_open(*sub) && kept.contains(&relation))
        }));
    }
    let mut kept: HashSet<_> = tables::at_server(server.oid)?.into_iter().collect();
    kept.retain(|table| lock::keeps_writers_out(*table));
    BEGUN.with_borrow_mut(|begun| {
        let within = xact::number();
        let begun = match begun {
            Some(begun) if begun.within == within => begun,
            _ => begun.insert(Begun { within, servers: HashMap::new() }),
        };
        begun.servers.insert(server.oid, (xact::current_sub(), kept));
    });
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_refuse_to_hide_rows() {
        for refuses in [
            c"-c row_security=off",
            c"-crow_security=off",
            c"--row-security=OFF -c statement_timeout=0",
            c"-c row_security=on  -c row_security=false",
        ] {
            assert!(refuses_to_hide(refuses), "{refuses:?}");
        }
        for hides in [
            c"",
            c"-c row_security",
            c"-c row_security=on",
            c"-c row_security=off -c row_security=on",
            c"-c a=row_security=off",
            c"-c x=a\\ -c\\ row_security=off",
            c"row_security=off",
            c"-c",
        ] {
            assert!(!refuses_to_hide(hides), "{hides:?}");
        }
    }
}
