//! What PostgreSQL can keep unique of a column of terms: in a partitioned table, its value together with the partition
//! key, since each partition has an index of its own.

use pgrx::pg_sys;

use crate::error::{Error, IndexError, Result};
use crate::pg::encoding;
use crate::pg::local_settings::{CATALOG_PATH, LocalSettings};
use crate::pg::relation::display_name;
use crate::pg::{report, spi};

/// SQL for the numbers, in `relation`, of the columns that it and its partitions are partitioned by; 0 is among them
/// where there are expressions.
pub fn partition_key(relation: &str) -> String {
    format!(
        "ARRAY(SELECT DISTINCT COALESCE(here.attnum, 0::pg_catalog.int2)
               FROM pg_catalog.pg_partition_tree({relation}::pg_catalog.regclass) AS part
               JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid OPERATOR(pg_catalog.=) part.relid
               CROSS JOIN LATERAL pg_catalog.unnest(p.partattrs::pg_catalog.int2[]) AS k (number)
               LEFT JOIN pg_catalog.pg_attribute AS there
                 ON there.attrelid OPERATOR(pg_catalog.=) p.partrelid AND there.attnum OPERATOR(pg_catalog.=) k.number
               LEFT JOIN pg_catalog.pg_attribute AS here
                 ON here.attrelid OPERATOR(pg_catalog.=) {relation} AND here.attname OPERATOR(pg_catalog.=) there.attname)"
    )
}

/// The columns that a unique index of a column of terms must have beside it, as SQL quotes them.
pub struct Beside {
    columns: Vec<String>,
    has_expressions: bool,
}

impl Beside {
    /// None, of a table that is not partitioned.
    pub fn of(relation: pg_sys::Oid) -> Result<Beside> {
        let oid = format!("{}::oid", relation.to_u32());
        let sql = format!(
            "SELECT convert_to(json_build_object('columns', COALESCE(json_agg(quote_ident(a.attname) ORDER BY a.attnum)
                                                                       FILTER (WHERE k.number <> 0), '[]'),
                                                'has_expressions', COALESCE(bool_or(k.number = 0), false))::text, 'UTF8')
             FROM unnest({}) AS k (number)
             LEFT JOIN pg_attribute AS a ON a.attrelid = {oid} AND a.attnum = k.number",
            partition_key(&oid)
        );
        let _path = LocalSettings::of(&[CATALOG_PATH]);
        let told = spi::bytes(&sql, &[]).map_err(Error::Corrupt)?.unwrap_or_default();
        #[derive(serde::Deserialize)]
        struct Told {
            columns: Vec<String>,
            has_expressions: bool,
        }
        let told: Told = serde_json::from_slice(&told)
            .map_err(|error| Error::Corrupt(format!("catalog read failed: {error}")))?;
        Ok(Beside { columns: told.columns, has_expressions: told.has_expressions })
    }

    /// Those of the index: the column of terms, and the partition key.
    pub fn with(&self, index_column: &str) -> String {
        let beside = self.columns.iter().filter(|column| *column != index_column);
        let all: Vec<&str> =
            std::iter::once(index_column).chain(beside.map(String::as_str)).collect();
        all.join(", ")
    }

    /// Whether the column of terms alone is unique.
    pub fn is_none(&self) -> bool {
        self.columns.is_empty()
    }

    /// 0A000 where PostgreSQL can keep nothing unique. What else is unique than one may think is said.
    pub fn check(&self, relation: pg_sys::Oid, column: &str) -> Result<()> {
        let (column, table) = (column.to_owned(), display_name(relation));
        if self.has_expressions {
            return Err(IndexError::NotUnique { column, table }.into());
        }
        if !self.is_none() {
            let columns = self.columns.join(", ");
            report::warning(
                format!(
                    "values of column \"{column}\" of table {table} are unique together with {columns} only: two rows that \
                     differ there may have the same value"
                ),
                &encoding::shown(format!(
                    "PostgreSQL keeps nothing else unique in a table that is partitioned by {columns}. ON CONFLICT and foreign \
                     keys name all of these columns."
                )),
            );
        }
        Ok(())
    }
}
