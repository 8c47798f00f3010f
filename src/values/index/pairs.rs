//! Values and their terms that this session has made, or compared, while it builds an index: what it meets again at the end
//! it need not open once more. Of each pair a number is kept, by a hash that nobody can foresee; as many as
//! `maintenance_work_mem` has room for. That a value has those terms stays true, whatever becomes of its row.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use uuid::Uuid;

use super::Stored;
use crate::error::{Error, Result};
use crate::memory::IdHasher;
use crate::pg::guc;
use crate::pg::state::Flag;
use crate::pg::xact::{self, End};

static IS_ON: Flag = Flag::new(false);
static IS_WATCHING: Flag = Flag::new(false);

thread_local! {
    static PAIRS: RefCell<Option<Pairs>> = const { RefCell::new(None) };
}

struct Pairs {
    /// The index.
    of: Uuid,
    key: [u64; 2],
    most: usize,
    known: HashSet<u64, BuildHasherDefault<IdHasher>>,
}

/// Bytes that a number takes in the set, while it grows.
const BYTES: usize = 32;

/// From now on pairs of that index are kept, of no other, until [`end`] or the transaction's abort.
pub fn begin(of: Uuid) -> Result<()> {
    if !IS_WATCHING.get() {
        IS_WATCHING.set(true);
        xact::on_end(|how| {
            if how == End::Abort {
                end();
            }
        });
    }
    let mut key = [0; 2];
    for half in &mut key {
        *half = getrandom::u64().map_err(|error| Error::System(error.to_string()))?;
    }
    let most = guc::maintenance_work_mem() / BYTES;
    PAIRS.set(Some(Pairs { of, key, most, known: HashSet::default() }));
    IS_ON.set(true);
    Ok(())
}

/// All are forgotten.
pub fn end() {
    IS_ON.set(false);
    PAIRS.take();
}

/// `terms` were made of the sealed `value`, or found to be its.
pub fn note(of: Uuid, value: &[u8], terms: &Stored<'_>) {
    if IS_ON.get() {
        PAIRS.with_borrow_mut(|pairs| {
            if let Some(pairs) = pairs.as_mut().filter(|pairs| pairs.of == of)
                && pairs.known.len() < pairs.most
                && let Some(number) = number(pairs.key, value, terms)
                // Without memory there is one less, and the backend goes on.
                && pairs.known.try_reserve(1).is_ok()
            {
                pairs.known.insert(number);
            }
        });
    }
}

/// Whether they are known to be. Whether `terms` are of the key and the classes of now is another question.
pub fn knows(of: Uuid, value: &[u8], terms: &Stored<'_>) -> bool {
    IS_ON.get()
        && PAIRS.with_borrow(|pairs| {
            pairs.as_ref().filter(|pairs| pairs.of == of).is_some_and(|pairs| {
                number(pairs.key, value, terms).is_some_and(|it| pairs.known.contains(&it))
            })
        })
}

/// `None` for an array with NULLs, which is nobody's terms.
fn number(key: [u64; 2], value: &[u8], terms: &Stored<'_>) -> Option<u64> {
    let of_value = of_bytes(key, value);
    let key = [key[0] ^ of_value, key[1]];
    Some(match terms {
        Stored::Term(term) => of_bytes(key, term),
        Stored::Tokens(tokens) => {
            of_words(key, tokens.plain()?.iter().map(|it| it.cast_unsigned()))
        }
    })
}

fn of_bytes(key: [u64; 2], bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<16>();
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    let add = |so_far, sixteen: &[u8; 16]| {
        let both = u128::from_le_bytes(*sixteen);
        folded(so_far ^ both as u64, key[1] ^ (both >> 64) as u64)
    };
    let all = add(pairs.iter().fold(key[0], add), &last);
    folded(all ^ bytes.len() as u64, key[0] | 1)
}

fn of_words(key: [u64; 2], words: impl Iterator<Item = u64>) -> u64 {
    let (all, count) = words.fold((key[0], 0u64), |(so_far, count), word| {
        (folded(so_far ^ word, key[1] | 1), count + 1)
    });
    folded(all ^ count, key[0] | 1)
}

/// Words multiplied to twice their length, and folded.
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: [u64; 2] = [0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210];

    /// Every bit counts, and where a value ends.
    #[test]
    fn other_bytes_have_other_numbers() {
        let value: Vec<u8> = (0..100).collect();
        let mut all = HashSet::new();
        for len in 0..value.len() {
            assert!(all.insert(of_bytes(KEY, &value[..len])), "{len}");
            for bit in 0..len * 8 {
                let mut other = value[..len].to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(all.insert(of_bytes(KEY, &other)), "{len} {bit}");
            }
            assert!(all.insert(of_bytes([KEY[0], 1], &value[..len])), "{len}");
        }
    }

    #[test]
    fn zeros_are_counted() {
        let numbers: HashSet<u64> = (0..64).map(|len| of_bytes(KEY, &vec![0; len])).collect();
        assert_eq!(numbers.len(), 64);
        let sets: HashSet<u64> =
            (0..64).map(|len| of_words(KEY, std::iter::repeat_n(0, len))).collect();
        assert_eq!(sets.len(), 64);
    }
}
