//! Index scans over the extension's tables.
//!
//! Not SPI: it would miss a key made after the snapshot of a REPEATABLE READ transaction, and
//! asking it for a newer snapshot fails in parallel mode. A catalog scan sees what is committed
//! now and what this transaction did, in every isolation level, in workers and on standbys.
//!
//! In a SERIALIZABLE transaction an ordinary read would also lock what it read against others'
//! inserts, and two sessions that make keys for two tables would fail each other. So the scan
//! itself takes every row version, which locks nothing, and each is held against the one snapshot.

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pgrx::datum::FromDatum;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use crate::catalog::{TABLES, oid_of};
use crate::error::Result;
use crate::pg::varlena::VarlenaBuf;
use crate::pg::{self, lock, snapshot};

thread_local! {
    /// By which rows are seen while [`at_one_moment`] runs; else null, and each scan takes its own.
    static HELD: Cell<pg_sys::Snapshot> = const { Cell::new(std::ptr::null_mut()) };
}

/// Runs `read`, whose scans all see the catalog as it is now: what is committed and what this
/// transaction did, and nothing that comes meanwhile.
///
/// Such a read does not see what the caches are told of while it runs: nothing of it may be kept for
/// later statements. Names, owners and kinds of relations come from PostgreSQL's own caches, which go
/// on: a table may be gone by then that a row here still names.
pub fn at_one_moment<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    let _held = Held::take()?;
    read()
}

/// A snapshot that is held for [`at_one_moment`].
struct Held {
    tables: [pg_sys::Oid; TABLES.len()],
    snapshot: pg_sys::Snapshot,
    before: pg_sys::Snapshot,
}

impl Held {
    /// The tables first. `REPACK (CONCURRENTLY)` leaves one that looks empty to every snapshot from before its
    /// end, and whoever waited for that with the snapshot in hand would find no keys.
    fn take() -> Result<Held> {
        let mut tables = [pg_sys::InvalidOid; TABLES.len()];
        for (table, name) in tables.iter_mut().zip(TABLES) {
            *table = oid_of(name)?;
            lock::keep_relation(*table);
        }
        // SAFETY: a catalog snapshot is taken anew for each of this extension's tables, and a copy of
        // it registered, until it is let go or, on an error, the resource owner lets it go.
        let snapshot = unsafe { pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(tables[0])) };
        Ok(Held { tables, snapshot, before: HELD.replace(snapshot) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(self.before);
        if !std::thread::panicking() {
            // SAFETY: registered by `take`, under the resource owner that is current again.
            unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
            self.tables.iter().for_each(|table| lock::let_relation_go(*table));
        }
    }
}

/// What a column is compared with.
pub enum Key<'a> {
    /// A uuid column equals.
    Uuid(&'a [u8; 16]),
    /// A table_ref or role_ref column equals.
    Oid(pg_sys::Oid),
    /// A text column, indexed with collation C, equals.
    Text(&'a str),
    /// A bigint column equals.
    BigInt(i64),
}

/// One row while the scan stands on it.
pub struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    writer: pg_sys::TransactionId,
}

/// Calls `each` for every row of `table` whose column number `column` (from 1; it must be the
/// first of `index`) equals `key`, in the index's order, until it answers false.
pub fn by_index(
    table: &CStr,
    index: &CStr,
    column: i16,
    key: &Key<'_>,
    each: impl FnMut(&Row) -> Result<bool>,
) -> Result<()> {
    by_key(oid_of(table)?, oid_of(index)?, column, key, each)
}

/// As [`by_index`], of any table; without an index (0) in no order.
pub fn by_key(
    table: pg_sys::Oid,
    index: pg_sys::Oid,
    column: i16,
    key: &Key<'_>,
    each: impl FnMut(&Row) -> Result<bool>,
) -> Result<()> {
    let (procedure, datum) = match key {
        Key::Uuid(bytes) => (pg_sys::F_UUID_EQ, pg::datum::uuid_datum(bytes)),
        Key::Oid(oid) => (pg_sys::F_OIDEQ, pg_sys::Datum::from(*oid)),
        Key::Text(text) => {
            // What the server's encoding lacks is in none of its columns.
            let Ok(text) = pg::encoding::from_utf8(text.as_bytes()) else { return Ok(()) };
            (pg_sys::F_TEXTEQ, VarlenaBuf::copy_of(&text).into_datum())
        }
        Key::BigInt(number) => (pg_sys::F_INT8EQ, pg_sys::Datum::from(*number)),
    };
    let mut scan_key = pg_sys::ScanKeyData::default();
    // SAFETY: fills the key in, with collation C; the comparison is the built-in one of the column's
    // type, and what the datum points to outlives the scan.
    unsafe {
        pg_sys::ScanKeyInit(
            &mut scan_key,
            column,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(procedure),
            datum,
        );
    }
    scan(table, index, &mut [scan_key], each)
}

/// Calls `each` for every row of `table`, until it answers false.
pub fn all(table: &CStr, each: impl FnMut(&Row) -> Result<bool>) -> Result<()> {
    scan(oid_of(table)?, pg_sys::InvalidOid, &mut [], each)
}

/// As [`all`], of any table.
pub fn all_of(table: pg_sys::Oid, each: impl FnMut(&Row) -> Result<bool>) -> Result<()> {
    scan(table, pg_sys::InvalidOid, &mut [], each)
}

fn scan(
    table: pg_sys::Oid,
    index: pg_sys::Oid,
    keys: &mut [pg_sys::ScanKeyData],
    mut each: impl FnMut(&Row) -> Result<bool>,
) -> Result<()> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation stays open and locked, and the snapshot registered, for the scan; on an
    // error raised in between, the resource owner closes all three. A tuple is read only until the
    // next one is asked for.
    unsafe {
        let relation = pg_sys::table_open(table, lock);
        let held = HELD.get();
        let seen_by = if held.is_null() { pg_sys::GetCatalogSnapshot(table) } else { held };
        let snapshot = pg_sys::RegisterSnapshot(seen_by);
        let scan = pg_sys::systable_beginscan(
            relation,
            index,
            index != pg_sys::InvalidOid,
            std::ptr::addr_of_mut!(pg_sys::SnapshotAnyData),
            keys.len() as std::ffi::c_int,
            keys.as_mut_ptr(),
        );
        let descriptor = (*relation).rd_att;
        let columns = (*descriptor).natts as usize;
        let mut row = Row {
            values: vec![pg_sys::Datum::null(); columns],
            nulls: vec![true; columns],
            writer: pg_sys::InvalidTransactionId,
        };
        let mut outcome = Ok(true);
        while let Ok(true) = outcome {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            if !is_visible(relation, (*scan).slot, snapshot) {
                continue;
            }
            pg_sys::heap_deform_tuple(
                tuple,
                descriptor,
                row.values.as_mut_ptr(),
                row.nulls.as_mut_ptr(),
            );
            row.writer = snapshot::writer_of(tuple);
            outcome = each(&row);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, lock);
        outcome.map(|_| ())
    }
}

/// # Safety
/// `slot` holds a row version of `relation`, `snapshot` is registered.
unsafe fn is_visible(
    relation: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: by contract; the call goes through PostgreSQL's table access method, which may
    // raise, and so through the same guard as pgrx's own calls.
    unsafe {
        match (*(*relation).rd_tableam).tuple_satisfies_snapshot {
            Some(satisfies) => pg_guard_ffi_boundary(|| satisfies(relation, slot, snapshot)),
            None => false,
        }
    }
}

impl Row {
    fn datum(&self, column: i16) -> Option<pg_sys::Datum> {
        let at = usize::from(column.unsigned_abs()).checked_sub(1)?;
        if *self.nulls.get(at)? { None } else { self.values.get(at).copied() }
    }

    /// The transaction that has written this version of the row.
    pub fn writer(&self) -> pg_sys::TransactionId {
        self.writer
    }

    /// A uuid column.
    pub fn uuid(&self, column: i16) -> Option<[u8; 16]> {
        // SAFETY: `rows.rs` asks for columns by the type they were created with.
        self.datum(column).map(|datum| unsafe { pg::datum::uuid_bytes(datum) })
    }

    /// A table_ref or role_ref column.
    pub fn oid(&self, column: i16) -> Option<pg_sys::Oid> {
        self.datum(column).map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    /// A boolean column.
    pub fn bool(&self, column: i16) -> Option<bool> {
        self.datum(column).map(|datum| datum.value() != 0)
    }

    /// An integer column.
    pub fn i32(&self, column: i16) -> Option<i32> {
        self.datum(column).map(|datum| datum.value() as i32)
    }

    /// A bigint column, or a timestamptz in PostgreSQL's microseconds.
    pub fn i64(&self, column: i16) -> Option<i64> {
        self.datum(column).map(|datum| datum.value() as i64)
    }

    /// A bytea column.
    pub fn bytes(&self, column: i16) -> Option<Vec<u8>> {
        // SAFETY: as in `uuid`.
        self.datum(column).map(|datum| unsafe { pg::varlena::Varlena::from_datum(datum) }.to_vec())
    }

    /// A text column, in UTF-8.
    pub fn text(&self, column: i16) -> Option<String> {
        self.bytes(column).map(|bytes| pg::encoding::to_string(&bytes))
    }

    /// A text[] column without NULLs, in UTF-8.
    pub fn texts(&self, column: i16) -> Option<Vec<String>> {
        // SAFETY: as in `uuid`.
        let array = self.datum(column).and_then(|datum| unsafe {
            pg::array::TextArray::from_polymorphic_datum(datum, false, pg_sys::TEXTARRAYOID)
        });
        match array? {
            pg::array::TextArray::Elements(elements) => elements.into_iter().collect(),
            _ => None,
        }
    }

    /// A timestamptz column, as the session shows times.
    pub fn time(&self, column: i16) -> Option<String> {
        let time = self.datum(column)?.value() as pg_sys::TimestampTz;
        // SAFETY: gives a NUL-terminated string of its own, which is copied at once.
        let shown = unsafe { CStr::from_ptr(pg_sys::timestamptz_to_str(time)) };
        Some(pg::encoding::to_string(shown.to_bytes()))
    }

    /// A name column, in the server's encoding.
    pub fn name(&self, column: i16) -> Option<CString> {
        // SAFETY: as in `uuid`; a name is NUL-terminated.
        self.datum(column).map(|datum| unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }.to_owned())
    }

    /// A jsonb column, as JSON text in UTF-8.
    pub fn json(&self, column: i16) -> Option<String> {
        // SAFETY: as in `uuid`.
        self.datum(column).and_then(|datum| unsafe { pg::json::text_of_jsonb(datum, usize::MAX) })
    }
}
