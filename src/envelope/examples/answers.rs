//! Answers the questions of the conformance vectors: JSON lines in, JSON lines out; `null` to those that are not about this
//! crate. Tests of `interop` ask it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/answers/mod.rs"]
mod answers;

use std::io::{BufRead, Write};

fn main() {
    let (stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in stdin.lines() {
        let question = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = answers::answer(&question).unwrap_or_default();
        writeln!(stdout, "{answer}").unwrap();
        stdout.flush().unwrap();
    }
}
