//! Column-level envelope encryption for PostgreSQL.
//!
//! Its wings, from what SQL sees down to PostgreSQL. A call goes down this list only, and by the door of a
//! wing: what its `mod.rs` makes public. `tests/run/wings.py` reads the list.
//!
//! - [`sql`]: arguments in, one call, result out
//! - [`adopt`]: what the database is to keep, and does it? Policies, plans, views, `envelope.lint()`, `envelope.check()`
//! - [`sweep`]: going through a table in batches
//! - [`values`]: one value, and what the trigger does with it
//! - [`nodes`]: other nodes, what they answer, and whether they agree with this one
//! - [`life`]: what happens to a data key
//! - [`custody`]: whose a keyring is, and who may use it
//! - [`census`]: is a value still under this key?
//! - [`kek`]: from a wrapped key to a key
//! - [`keyring`]: what this backend knows of tables and their keys
//! - [`memory`]: where secrets live
//! - [`kms`]: who holds the KEKs
//! - [`catalog`]: the extension's own tables, as typed rows
//! - [`audit`]: what the server's log is told
//! - [`figures`]: how often, how much, how long: of this process and of all
//! - [`settings`]: what an administrator sets
//! - [`error`]: what a user is told
//! - [`pg`]: PostgreSQL, wrapped
//!
//! Beside them stand two crates that know none of this: `envelope`, the byte format, and `gcm`, the cipher.

use std::ffi::CStr;

mod adopt;
mod audit;
mod catalog;
mod census;
mod custody;
mod error;
mod figures;
mod kek;
mod keyring;
mod kms;
mod life;
mod memory;
mod nodes;
mod pg;
mod settings;
mod sql;
mod sweep;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod values;

// `version` alone would become the module's name, with pgrx 0.18.
pgrx::pg_module_magic!(name, version = VERSION);

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

pgrx::extension_sql_file!("../sql/bootstrap.sql", name = "bootstrap", bootstrap);
pgrx::extension_sql_file!("../sql/functions.sql", name = "functions", requires = ["bootstrap"]);
pgrx::extension_sql_file!("../sql/columns.sql", name = "columns", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/destroy.sql", name = "destroy", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/sweep.sql", name = "sweep", requires = ["verify"]);
pgrx::extension_sql_file!("../sql/reencrypt.sql", name = "reencrypt", requires = ["sweep"]);
pgrx::extension_sql_file!("../sql/seal_column.sql", name = "seal_column", requires = ["sweep"]);
pgrx::extension_sql_file!(
    "../sql/build_index.sql",
    name = "build_index",
    requires = ["sweep", "indexes"]
);
pgrx::extension_sql_file!(
    "../sql/sealed_type.sql",
    name = "sealed_type",
    requires = ["columns", "reencrypt"]
);
pgrx::extension_sql_file!("../sql/verify.sql", name = "verify", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/typed.sql", name = "typed", requires = ["sealed_type"]);
pgrx::extension_sql_file!("../sql/lifecycle.sql", name = "lifecycle", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/index_keys.sql", name = "index_keys", requires = ["lifecycle"]);
pgrx::extension_sql_file!("../sql/policies.sql", name = "policies", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/indexes.sql", name = "indexes", requires = ["policies"]);
pgrx::extension_sql_file!("../sql/lint.sql", name = "lint", requires = ["columns"]);
pgrx::extension_sql_file!("../sql/plan.sql", name = "plan", requires = ["policies"]);
pgrx::extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = ["policies", "sealed_type", "typed"]
);
pgrx::extension_sql_file!("../sql/search.sql", name = "search", requires = ["sealed_type"]);
pgrx::extension_sql_file!(
    "../sql/evidence.sql",
    name = "evidence",
    requires = ["policies", "indexes", "lint", "sweep"]
);
pgrx::extension_sql_file!("../sql/node_state.sql", name = "node_state", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/figures.sql", name = "figures", requires = ["functions"]);
pgrx::extension_sql_file!(
    "../sql/view_columns.sql",
    name = "view_columns",
    requires = ["evidence", "figures"]
);
pgrx::extension_sql_file!("../sql/nodes.sql", name = "nodes", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/finalize.sql", name = "finalize", finalize);

/// Called by PostgreSQL when the library is loaded: in the postmaster when it is preloaded, else
/// in a backend. Starts nothing: no thread, no random state, no key before a backend needs one.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::on_raise(audit::refused);
    settings::init(settings::Reactions {
        changed: keyring::settings_changed,
        role_changed: memory::identity::changed,
    });
    memory::at_load();
    custody::watch_drops();
    adopt::policy::watch();
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
