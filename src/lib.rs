//! Column-level envelope encryption for PostgreSQL.
//!
//! A call goes down only: [`sql`] → [`keyring`] → [`catalog`], [`kms`], [`pg`]; the byte format
//! is the crate `envelope` below `src/envelope/`, which knows none of them.

mod audit;
mod catalog;
mod error;
mod keyring;
mod kms;
mod pg;
mod settings;
mod sql;
#[cfg(any(test, feature = "pg_test"))]
mod tests;

pgrx::pg_module_magic!(name, version);

pgrx::extension_sql_file!("../sql/bootstrap.sql", name = "bootstrap", bootstrap);
pgrx::extension_sql_file!("../sql/functions.sql", name = "functions", requires = ["bootstrap"]);
pgrx::extension_sql_file!("../sql/columns.sql", name = "columns", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/destroy.sql", name = "destroy", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/reencrypt.sql", name = "reencrypt", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/lifecycle.sql", name = "lifecycle", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/finalize.sql", name = "finalize", finalize);

/// Called by PostgreSQL when the library is loaded: in the postmaster when it is preloaded, else
/// in a backend. Starts nothing: no thread, no random state, no key before a backend needs one.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::on_raise(audit::refused);
    settings::init();
    keyring::watch_drops();
}

/// Asked for by `cargo pgrx test` at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to prepare.
    pub fn setup(_options: Vec<&str>) {}

    /// No setting beyond the defaults.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
