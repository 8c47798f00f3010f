//! Reading a table as it is stored, below the planner: no policy hides a row, no right is asked
//! for, no snapshot of an earlier time is used, no function of a user's runs.

use std::cell::Cell;
use std::ops::{ControlFlow, Range};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use crate::pg::column;
use crate::pg::damage::{self, Damage};
use crate::pg::report;
use crate::pg::subxact::Undone;
use crate::pg::tid::Tid;
use crate::pg::varlena::{first_bytes, is_at_hand};

/// What of a table is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every row.
    Whole,
    /// All rows of a small table; of a large one those of its beginning and of other pages, drawn
    /// at random: about [`SAMPLE`] pages. None of a table that another backend has locked against
    /// readers: nobody waits for a sample.
    Sample,
}

/// Pages of a sample: its first quarter is the table's beginning, where the oldest rows are.
pub const SAMPLE: u32 = 64;

/// What is committed at one moment, and what this transaction has written itself.
pub struct Moment(pg_sys::Snapshot);

impl Moment {
    /// Registered for as long as this is borrowed.
    pub(super) fn snapshot(&self) -> pg_sys::Snapshot {
        self.0
    }
}

/// Calls `look` with this moment.
pub fn with_moment<T>(look: impl FnOnce(&Moment) -> T) -> T {
    // SAFETY: the snapshot stays registered while `look` runs; on an error raised in between, the resource
    // owner gives it back.
    unsafe {
        let moment = Moment(pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()));
        let seen = look(&moment);
        pg_sys::UnregisterSnapshot(moment.0);
        seen
    }
}

/// A value that is not NULL.
pub struct Seen<'a> {
    pub column: i16,
    pub row: Tid,
    /// Its first bytes.
    pub head: &'a [u8],
    /// PostgreSQL cannot read it: there are none.
    pub is_unreadable: bool,
}

/// What was read of a table.
#[derive(Default)]
pub struct Read {
    pub rows: u64,
    /// Each row was met, and may yet not be all that a SELECT would see: the table is no heap.
    pub may_differ: bool,
}

/// A value that PostgreSQL could not read.
pub struct Unreadable {
    pub column: i16,
    pub row: Tid,
    pub damage: Damage,
}

/// Calls `each` with the first `count` bytes of every value in `columns` of `relation`, as far as they
/// are of a type that holds sealed values, among the rows of a moment, until it breaks off. Nothing when `relation` is
/// gone, or stores no rows of its own. Where it `survives`, a value that PostgreSQL cannot read is met as one without
/// bytes. In each row the value in `beside` comes first, a column of any type, without any of its bytes.
#[allow(clippy::too_many_arguments, reason = "what is read, of what, and how")]
pub fn read(
    moment: &Moment,
    relation: pg_sys::Oid,
    columns: &[i16],
    beside: Option<i16>,
    count: usize,
    extent: Extent,
    survives: bool,
    mut each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<Read, Unreadable> {
    let kinds = |number| match Some(number) == beside {
        true => Some(false),
        false => column::holds_sealable(relation, number).then_some(true),
    };
    let columns: Vec<i16> = beside.into_iter().chain(columns.iter().copied()).collect();
    let what = What { columns: &columns, kinds: &kinds, count, extent, survives };
    read_what(moment, relation, &what, &mut each)
}

/// As [`read`], of columns of any type, dropped ones too. Those of fixed length, and dropped ones, show that there is
/// a value and none of its bytes.
pub fn read_any(
    moment: &Moment,
    relation: pg_sys::Oid,
    columns: &[i16],
    count: usize,
    extent: Extent,
    mut each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<Read, Unreadable> {
    let kinds = |number| {
        column::name(relation, number).map(|_| column::is_of_variable_length(relation, number))
    };
    let what = What { columns, kinds: &kinds, count, extent, survives: false };
    read_what(moment, relation, &what, &mut each)
}

/// What of a table is read, and how.
struct What<'a> {
    columns: &'a [i16],
    /// Whether a column is read at all, and if so whether its bytes are. Asked once the table cannot change.
    kinds: &'a dyn Fn(i16) -> Option<bool>,
    count: usize,
    extent: Extent,
    survives: bool,
}

fn read_what(
    moment: &Moment,
    relation: pg_sys::Oid,
    what: &What<'_>,
    each: &mut dyn FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<Read, Unreadable> {
    if what.columns.is_empty() {
        return Ok(Read::default());
    }
    let at = Cell::new((0, Tid::default()));
    let mut each = |column, row, datum: Option<pg_sys::Datum>| {
        at.set((column, row));
        let Some(datum) = datum else {
            return each(&Seen { column, row, head: &[], is_unreadable: false });
        };
        // SAFETY: a non-null value of variable length of the row that the scan stands on.
        let head = || unsafe { first_bytes(datum, what.count) };
        // SAFETY: as above.
        if what.survives && !unsafe { is_at_hand(datum) } {
            return match damage::survived(head) {
                Ok(head) => each(&Seen { column, row, head: &head, is_unreadable: false }),
                Err(Undone::Failed(_)) => {
                    each(&Seen { column, row, head: &[], is_unreadable: true })
                }
                Err(Undone::Raised(code, message)) => {
                    report::raise(ErrorReport::new(code, message, ""))
                }
            };
        }
        each(&Seen { column, row, head: &head(), is_unreadable: false })
    };
    damage::reading(|| read_opened(moment, relation, what, &mut each)).map_err(|damage| {
        let (column, row) = at.get();
        Unreadable { column, row, damage }
    })
}

fn read_opened(
    moment: &Moment,
    relation: pg_sys::Oid,
    what: &What<'_>,
    each: &mut dyn FnMut(i16, Tid, Option<pg_sys::Datum>) -> ControlFlow<()>,
) -> Read {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut read = Read::default();
    // SAFETY: the relation stays open and locked, and the moment's snapshot registered, while the scans
    // run; on an error raised in between, the resource owner closes all of them. A slot's values are
    // read only until the next row is asked for.
    unsafe {
        let opened = match what.extent {
            Extent::Whole => pg_sys::try_relation_open(relation, lock),
            Extent::Sample if !pg_sys::ConditionalLockRelationOid(relation, lock) => return read,
            Extent::Sample => {
                let opened =
                    pg_sys::try_relation_open(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
                if opened.is_null() {
                    pg_sys::UnlockRelationOid(relation, lock);
                }
                opened
            }
        };
        if opened.is_null() {
            return read;
        }
        // Under the lock: until now a column may have become one of another type, whose values are
        // no pointers.
        let kind = |number: &i16| (what.kinds)(*number).map(|has_bytes| (*number, has_bytes));
        let columns: Vec<(i16, bool)> = what.columns.iter().filter_map(kind).collect();
        let last = columns.iter().map(|(number, _)| *number).max().unwrap_or_default();
        if last > 0 && !(*opened).rd_tableam.is_null() {
            read.may_differ = (*(*opened).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID;
            let slot = pg_sys::table_slot_create(opened, std::ptr::null_mut());
            let mut go_on = ControlFlow::Continue(());
            for pages in pages(opened, what.extent) {
                let mut scan = Scan::begin(opened, moment.0, pages);
                while go_on.is_continue() && scan.next(slot) {
                    read.rows += 1;
                    pg_sys::slot_getsomeattrs(slot, i32::from(last));
                    let row = Tid::of(&(*slot).tts_tid);
                    go_on = columns.iter().try_for_each(|(column, has_bytes)| {
                        let at = (*column - 1) as usize;
                        if *(*slot).tts_isnull.add(at) {
                            return ControlFlow::Continue(());
                        }
                        each(*column, row, has_bytes.then(|| *(*slot).tts_values.add(at)))
                    });
                }
                scan.end();
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
        }
        pg_sys::relation_close(opened, lock);
    }
    read
}

/// The ranges of pages to be read; `None`: all of the table, in whatever way it is stored.
///
/// # Safety
/// `relation` is open.
unsafe fn pages(relation: pg_sys::Relation, extent: Extent) -> Vec<Option<Range<u32>>> {
    // SAFETY: by contract.
    let (count, takes_ranges) = unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        (
            pg_sys::RelationGetNumberOfBlocksInFork(relation, main),
            (*(*relation).rd_tableam).scan_set_tidrange.is_some(),
        )
    };
    if extent == Extent::Whole || count <= SAMPLE || !takes_ranges {
        return vec![None];
    }
    let beginning = SAMPLE / 4;
    let drawn = (beginning..SAMPLE).map(|_| {
        // Which pages is no secret; without random numbers the first ones are read.
        let at = getrandom::u32().unwrap_or_default() % count;
        Some(at..at + 1)
    });
    std::iter::once(Some(0..beginning)).chain(drawn).collect()
}

/// A scan of a whole table, or of a range of its pages.
enum Scan {
    Whole(pg_sys::TableScanDesc),
    Pages(pg_sys::TableScanDesc),
}

impl Scan {
    /// # Safety
    /// `relation` is open, `snapshot` registered, until [`Self::end`].
    unsafe fn begin(
        relation: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        pages: Option<Range<u32>>,
    ) -> Scan {
        let Some(pages) = pages else {
            // SAFETY: by contract.
            return Scan::Whole(unsafe { begin_whole(relation, snapshot) });
        };
        // SAFETY: by contract; the bounds are copied. The last item of the last page is a bound
        // that no row lies beyond.
        Scan::Pages(unsafe {
            let mut first = item(pages.start, 0);
            let mut last = item(pages.end - 1, u16::MAX);
            begin_range(relation, snapshot, &mut first, &mut last)
        })
    }

    /// # Safety
    /// `slot` was made for the scan's relation.
    unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: by contract.
        unsafe {
            match self {
                Scan::Whole(scan) => pg_sys::table_scan_getnextslot(*scan, forward, slot),
                Scan::Pages(scan) => pg_sys::table_scan_getnextslot_tidrange(*scan, forward, slot),
            }
        }
    }

    /// # Safety
    /// To be called once, and last.
    unsafe fn end(self) {
        let (Scan::Whole(scan) | Scan::Pages(scan)) = self;
        // SAFETY: by contract.
        unsafe { pg_sys::table_endscan(scan) }
    }
}

/// # Safety
/// That of [`Scan::begin`].
unsafe fn begin_whole(
    relation: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
) -> pg_sys::TableScanDesc {
    let no_key = std::ptr::null_mut();
    #[cfg(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    ))]
    // SAFETY: by contract.
    return unsafe { pg_sys::table_beginscan(relation, snapshot, 0, no_key) };
    #[cfg(not(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    )))]
    // SAFETY: by contract.
    unsafe {
        pg_sys::table_beginscan(relation, snapshot, 0, no_key, pg_sys::ScanOptions::SO_NONE)
    }
}

/// # Safety
/// That of [`Scan::begin`].
unsafe fn begin_range(
    relation: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    first: &mut pg_sys::ItemPointerData,
    last: &mut pg_sys::ItemPointerData,
) -> pg_sys::TableScanDesc {
    #[cfg(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    ))]
    // SAFETY: by contract.
    return unsafe { pg_sys::table_beginscan_tidrange(relation, snapshot, first, last) };
    #[cfg(not(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    )))]
    // SAFETY: by contract.
    unsafe {
        let no_flags = pg_sys::ScanOptions::SO_NONE;
        pg_sys::table_beginscan_tidrange(relation, snapshot, first, last, no_flags)
    }
}

fn item(page: u32, number: u16) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData { bi_hi: (page >> 16) as u16, bi_lo: page as u16 },
        ip_posid: number,
    }
}
