//! What the programs of this crate tell, a line a fact.

use std::{env, error::Error, fmt::Display};

pub fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub fn tell(name: &str, value: impl Display) {
    println!("{name}\t{value}");
}

/// The version of a crate, as it is locked.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry =
        lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map_or("", |(_, rest)| rest);
    entry.split('"').next().unwrap_or_default()
}

/// How a sealed value came.
pub fn kind(value: &[u8]) -> &'static str {
    match value {
        [0xf7, 0xe1, ..] => "bytes",
        [b'\\', b'x', b'f', b'7', b'e', b'1', ..] => "text",
        _ => "other",
    }
}

/// What became of a value on its way in; `opened` is None when it was refused.
pub fn fate(opened: Option<String>, given: &str) -> &'static str {
    opened.map_or("refused", |opened| if opened == given { "kept" } else { "changed" })
}

/// Whether an error's text shows the value that the statement came with.
pub fn shown(error: &(dyn Error + 'static)) -> &'static str {
    let told = format!("{error} {error:?} {:?}", error.source());
    if told.contains(&given("SECRET")) { "shown" } else { "not shown" }
}
