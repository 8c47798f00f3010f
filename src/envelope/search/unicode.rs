//! What Unicode 15.1.0 says of code points, from tables that never change; decompositions, compositions and combining
//! classes from the crate `unicode-normalization`, whose tables may be newer: of code points that 15.1.0 assigns they say
//! the same for ever (Unicode's stability policy), and no others are asked for.

mod assigned;
mod decimal;
mod folding;
mod small;
mod word;

/// Whether a code point is one that 15.1.0 knows: normalised with its neighbours. All others stand as they are.
pub(super) fn is_known(c: char) -> bool {
    c.is_ascii() || has(assigned::ASSIGNED, c) || has(small::IGNORABLE, c)
}

/// The property Default_Ignorable_Code_Point.
pub(super) fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && has(small::IGNORABLE, c)
}

/// The property White_Space.
pub(super) fn is_white(c: char) -> bool {
    has(small::WHITE_SPACE, c)
}

/// General category Cc, which will never have more members.
pub(super) fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')
}

/// General categories L, M, N.
pub(super) fn is_of_words(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { has(word::WORD, c) }
}

/// The value of a decimal digit of any script, as the ASCII digit.
pub(super) fn decimal(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then_some(c as u8);
    }
    let (first, _) = range(decimal::DECIMAL, c)?;
    Some(b'0' + ((u32::from(c) - first) % 10) as u8)
}

/// Full case folding: what `c` folds to.
pub(super) fn fold(c: char, mut each: impl FnMut(char)) {
    if c.is_ascii() {
        return each(c.to_ascii_lowercase());
    }
    let code = u32::from(c);
    if let Ok(at) = folding::FULL.binary_search_by_key(&code, |(from, _)| *from) {
        let to = folding::FULL[at].1;
        return to
            .iter()
            .filter(|to| **to != 0)
            .filter_map(|to| char::from_u32(*to))
            .for_each(each);
    }
    let before = folding::RUNS.partition_point(|(first, ..)| *first <= code);
    let run = before.checked_sub(1).map(|at| folding::RUNS[at]);
    let folded = run.and_then(|(first, last, step, distance)| {
        let is_in = code <= last && code.abs_diff(first).is_multiple_of(step);
        char::from_u32(code.checked_add_signed(distance)?).filter(|_| is_in)
    });
    each(folded.unwrap_or(c));
}

fn has(table: &[(u32, u32)], c: char) -> bool {
    range(table, c).is_some()
}

/// The range that `c` is in.
fn range(table: &[(u32, u32)], c: char) -> Option<(u32, u32)> {
    let code = u32::from(c);
    let before = table.partition_point(|(first, _)| *first <= code);
    let (first, last) = table[before.checked_sub(1)?];
    (code <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    /// The searches need order.
    #[test]
    fn tables_ascend() {
        let tables = [
            assigned::ASSIGNED,
            small::IGNORABLE,
            small::WHITE_SPACE,
            word::WORD,
            decimal::DECIMAL,
        ];
        for table in tables {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
        assert!(folding::RUNS.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(folding::FULL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(decimal::DECIMAL.iter().all(|(first, last)| (last - first + 1) % 10 == 0));
    }

    /// As many as the files of Unicode 15.1.0 have.
    #[test]
    fn tables_are_whole() {
        let count = |is: fn(char) -> bool| ('\0'..=char::MAX).filter(|c| is(*c)).count();
        assert_eq!(count(|c| has(assigned::ASSIGNED, c)), 149_813 + 65 + 137_468);
        assert_eq!(count(is_ignorable), 4174);
        assert_eq!(count(is_white), 25);
        assert_eq!(count(is_control), 65);
        assert_eq!(count(|c| decimal(c).is_some()), 680);
        let folds = |c| {
            let mut folded = Vec::new();
            fold(c, |to| folded.push(to));
            folded != [c]
        };
        assert_eq!(count(folds), 1530);
    }

    /// What every code point folds to, by the digest that CPython 3.13 gives, whose tables are of 15.1.0 as well:
    /// SHA-256 over `chr(c).casefold().encode() + b"\0"` for all but surrogates.
    #[test]
    fn folds_as_another_implementation() {
        let mut digest = sha2::Sha256::new();
        for c in '\0'..=char::MAX {
            let mut folded = String::new();
            fold(c, |to| folded.push(to));
            digest.update(folded.as_bytes());
            digest.update([0]);
        }
        let found = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(found, "2af944b6cb24e3be0307122af2e8a2b9396941bc32d0e82fdb3fac4f96327a83");
    }
}
