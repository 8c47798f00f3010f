//! Shards: the tables of this node that hold rows of a table which Citus has distributed. A shard is a part of its
//! table as a partition is of its own.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use crate::catalog::scan::{self, Key};
use crate::catalog::{citus, tables};
use crate::error::Result;
use crate::pg::{attribute, relation};

/// What PostgreSQL takes of a name.
const LONGEST_NAME: usize = pg_sys::NAMEDATALEN as usize - 1;

/// Bytes of a character in any server encoding.
const LONGEST_CHARACTER: usize = 4;

/// What stands for the rest of a table's name in that of a shard, where both together are too long: `_` and eight
/// hexadecimal digits.
const HASH: usize = 9;

/// The topmost table above `relation`, whose keyring seals its values; itself when none is above it.
pub fn root(relation: pg_sys::Oid) -> Result<pg_sys::Oid> {
    Ok(above(relation)?.pop().unwrap_or(relation))
}

/// The tables that `relation` is a part of, the nearest first: those that it is a partition of, and, where it is a
/// shard or a partition of one, the distributed table and what that is a partition of.
pub fn above(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    let mut above = relation::partition_ancestors(relation);
    let table = match table_of(relation)? {
        None => above.last().map_or(Ok(None), |top| table_of(*top))?,
        table => table,
    };
    if let Some(table) = table {
        above.push(table);
        above.extend(relation::partition_ancestors(table));
    }
    Ok(above)
}

/// The distributed table that `relation` is a shard of, if it is one. It bears the table's name and its own number,
/// stands in the table's schema, and belongs to the table's owner, who alone can make a table that does. Whether it is
/// placed on this node does not matter: while a shard moves here its rows come first, and its placement last.
pub fn table_of(relation: pg_sys::Oid) -> Result<Option<pg_sys::Oid>> {
    let Some(name) = relation::raw_name(relation) else { return Ok(None) };
    let Some((head, number)) = numbered(name.to_bytes()) else { return Ok(None) };
    let Some(shards) = citus::table(c"pg_dist_shard") else { return Ok(None) };
    let at = |column: &CStr| attribute::number(shards, column);
    let (Some(shard), Some(whole)) = (at(c"shardid"), at(c"logicalrelid")) else {
        return Ok(None);
    };
    let index = relation::index_on(shards, citus::SCHEMA, c"pg_dist_shard_shardid_index");
    let index = index.filter(|index| attribute::number(*index, c"shardid") == Some(1));
    let index = index.unwrap_or(pg_sys::InvalidOid);
    let mut tables = Vec::new();
    scan::by_key(shards, index, shard, &Key::BigInt(number), |row| {
        tables.extend(row.oid(whole));
        Ok(true)
    })?;
    let [table] = tables[..] else { return Ok(None) };
    let is_its_name = relation::raw_name(table)
        .is_some_and(|table| is_name_of_shard(head, table.to_bytes(), name.to_bytes().len()));
    let is_alike = relation::owner_and_schema(table) == relation::owner_and_schema(relation);
    Ok((is_its_name && is_alike).then_some(table))
}

/// The shards that stand on this node, each with the table that it is one of.
pub fn all_here() -> Result<Vec<(pg_sys::Oid, pg_sys::Oid)>> {
    if citus::table(c"pg_dist_shard").is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT c.oid, t.oid FROM pg_catalog.pg_dist_shard s JOIN pg_class t ON t.oid = s.logicalrelid
               JOIN pg_class c ON c.relnamespace = t.relnamespace AND c.relowner = t.relowner AND c.relkind IN ('r', 'p')
                AND substring(c.relname FROM '_([0-9]+)$') = s.shardid::text";
    let pair = |row: SpiHeapTupleData<'_>| Ok(row.get(1)?.zip(row.get(2)?));
    let mut found: Vec<(pg_sys::Oid, pg_sys::Oid)> =
        tables::ask(sql, &[], pair)?.into_iter().flatten().collect();
    let mut outcome = Ok(());
    found.retain(|(shard, table)| match table_of(*shard) {
        Ok(of) => of == Some(*table),
        Err(error) => {
            outcome = Err(error);
            false
        }
    });
    outcome.map(|()| found)
}

/// `cust_102009` taken apart.
fn numbered(name: &[u8]) -> Option<(&[u8], i64)> {
    let at = name.iter().rposition(|byte| *byte == b'_')?;
    let (head, digits) = (&name[..at], &name[at + 1..]);
    let is_number = digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0');
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some((head, number))
}

/// Whether a shard of `table` may be called so: its name without the number is `head`, and `length` bytes long with it.
fn is_name_of_shard(head: &[u8], table: &[u8], length: usize) -> bool {
    if head == table {
        return true;
    }
    // One that is too long together with the number is cut, where a character ends, and a hash put in.
    let is_cut = table.len() + (length - head.len()) > LONGEST_NAME
        && length + LONGEST_CHARACTER > LONGEST_NAME;
    let Some(kept) = head.len().checked_sub(HASH).filter(|_| is_cut) else { return false };
    let (kept, hash) = head.split_at(kept);
    table.starts_with(kept) && hash[0] == b'_' && hash[1..].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        assert_eq!(numbered(b"cust_102009"), Some((&b"cust"[..], 102_009)));
        assert_eq!(numbered(b"a_b_7"), Some((&b"a_b"[..], 7)));
        for name in [&b"cust"[..], b"cust_", b"cust_07", b"cust_7x", b"_99999999999999999999"] {
            assert_eq!(numbered(name), None);
        }
        assert!(is_name_of_shard(b"cust", b"cust", 11));
        assert!(!is_name_of_shard(b"other", b"cust", 12));
        let long = [b'n'; 60];
        let cut = [&long[..47], b"_0af19c22"].concat();
        assert!(is_name_of_shard(&cut, &long, 63));
        assert!(!is_name_of_shard(&cut, &long[..50], 63), "it would not have been cut");
        assert!(!is_name_of_shard(&[&long[..47], b"_0af19c2x"].concat(), &long, 63));
    }
}
