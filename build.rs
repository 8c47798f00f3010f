//! Keeps in the library what `cargo pgrx` reads the SQL functions from.

/// `#[used]` alone does not keep that section on every linker. `cargo pgrx` would say the same to the compiler for each
/// crate, and the crates would be built once with these words and once without; only the last link needs them.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--no-gc-sections");
    }
}
