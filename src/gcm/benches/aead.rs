//! Nanoseconds of one call of AES-256-GCM with its key kept, by each implementation at hand: the floor under every
//! sealed value. `cargo bench -p gcm -- SIZE…`; a line of JSON for each implementation and size. With `KEYS keys`, 16
//! bytes sealed under each of so many keys in turn: what a processor's cache makes of them.

use std::hint::black_box;
use std::time::Instant;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use gcm::{GcmKey, TAG_LEN};

const SIZES: [usize; 4] = [16, 1 << 10, 1 << 16, 1 << 20];
const BATCHES: usize = 31;
const KEY: [u8; 32] = [7; 32];
const IV: [u8; 12] = [9; 12];
/// As long as what is authenticated with a value that has no context.
const AAD: [u8; 18] = [3; 18];

fn main() {
    // Cargo adds `--bench`.
    let asked: Vec<usize> = std::env::args().filter_map(|size| size.parse().ok()).collect();
    if std::env::args().any(|argument| argument == "keys") {
        return asked.into_iter().for_each(in_turn);
    }
    for size in if asked.is_empty() { SIZES.to_vec() } else { asked } {
        rust_crypto(size);
        aws_lc_rs(size);
        ours(size);
    }
}

/// The median over batches of one call's nanoseconds.
fn median(size: usize, mut call: impl FnMut()) -> f64 {
    let calls = (1_000_000 / (size + 200)).max(10);
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            (0..calls).for_each(|_| call());
            started.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[BATCHES / 2]
}

fn print(library: &str, size: usize, seal: f64, open: f64) {
    println!(r#"{{"library": "{library}", "size": {size}, "seal": {seal:.1}, "open": {open:.1}}}"#);
}

fn rust_crypto(size: usize) {
    let key = Aes256Gcm::new(&KEY.into());
    let (mut buf, mut tag) = (vec![1; size], Default::default());
    let seal = median(size, || {
        if let Ok(sealed) = key.encrypt_inout_detached(&IV.into(), &AAD, (&mut *buf).into()) {
            tag = black_box(sealed);
        }
    });
    // Opened in place the ciphertext is gone, so that each call opens a copy.
    let sealed = buf.clone();
    let open = median(size, || {
        buf.copy_from_slice(&sealed);
        let opened = key.decrypt_inout_detached(&IV.into(), &AAD, (&mut *buf).into(), &tag);
        assert!(black_box(opened).is_ok());
    });
    print("aes-gcm", size, seal, open);
}

fn aws_lc_rs(size: usize) {
    let Ok(key) = UnboundKey::new(&AES_256_GCM, &KEY).map(LessSafeKey::new) else { return };
    let nonce = || Nonce::assume_unique_for_key(IV);
    let (plaintext, mut buf, mut tag) = (vec![1; size], vec![0; size], [0; TAG_LEN]);
    let seal = median(size, || {
        buf.copy_from_slice(&plaintext);
        let sealed = key.seal_in_place_separate_tag(nonce(), Aad::from(&AAD), &mut buf);
        if let Ok(sealed) = black_box(sealed) {
            tag.copy_from_slice(sealed.as_ref());
        }
    });
    let mut opened = vec![0; size];
    let open = median(size, || {
        let done = key.open_separate_gather(nonce(), Aad::from(&AAD), &buf, &tag, &mut opened);
        assert!(black_box(done).is_ok());
    });
    print("aws-lc-rs", size, seal, open);
}

fn ours(size: usize) {
    let mut key = GcmKey::unset();
    key.set(&KEY);
    let (plaintext, mut buf, mut tag) = (vec![1; size], vec![0; size], [0; TAG_LEN]);
    let seal = median(size, || {
        assert!(black_box(key.seal(&IV, &AAD, &plaintext, &mut buf, &mut tag)).is_ok());
    });
    let mut opened = vec![0; size];
    let open = median(size, || {
        assert!(black_box(key.open(&IV, &AAD, &buf, &tag, &mut opened)).is_ok());
    });
    print("gcm", size, seal, open);
}

fn in_turn(keys: usize) {
    let mut keys: Vec<GcmKey> = (0..keys).map(|_| GcmKey::unset()).collect();
    for (at, key) in keys.iter_mut().enumerate() {
        let mut bytes = KEY;
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        key.set(&bytes);
    }
    let (plaintext, mut buf, mut tag, mut turn) = ([1; 16], [0; 16], [0; TAG_LEN], 0);
    let seal = median(16, || {
        // Far from the one before, so that the processor does not guess it.
        turn = (turn + 7_919) % keys.len();
        let sealed = keys[turn].seal(&IV, &AAD, &plaintext, &mut buf, &mut tag);
        assert!(black_box(sealed).is_ok());
    });
    println!(r#"{{"keys": {}, "seal": {seal:.1}}}"#, keys.len());
}
