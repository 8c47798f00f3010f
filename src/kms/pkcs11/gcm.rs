//! AES-GCM in the token, with the encryption context as associated data.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use envelope::secret::KEY_LEN;
use envelope::wrap::kms_wrap::{IV_LEN, KmsWrap};
use zeroize::Zeroizing;

use super::super::Kind;
use super::fault::{Fault, Then};

const TAG_BITS: u64 = 128;

/// A data key on its way, wiped when dropped.
pub(super) type Plain = Zeroizing<Vec<u8>>;

/// Who draws the IV.
pub(super) enum Iv<'a> {
    /// We: 12 random bytes.
    Ours,
    /// The token, which hands it back in place of the zeros that it was given. What it handed back last.
    Tokens(&'a mut Vec<u8>),
}

/// Wraps `data_key`; the bytes to store.
pub(super) fn wrap(
    session: &Session,
    key: ObjectHandle,
    iv: &mut Iv<'_>,
    associated_data: &[u8],
    data_key: &Plain,
) -> Result<Vec<u8>, Fault> {
    let mut given = [0; IV_LEN];
    if matches!(iv, Iv::Ours) {
        getrandom::fill(&mut given).map_err(|error| {
            Fault::new(Kind::Unavailable, format!("no random bytes to be had: {error}"))
        })?;
    }
    let mut used = given;
    let params = GcmParams::new(&mut used, associated_data, TAG_BITS.into())?;
    let sealed = session.encrypt(&Mechanism::AesGcm(params), key, data_key)?;
    accept(iv, &given, &used)?;
    let wrap = KmsWrap::new(&used, &sealed).map_err(|_| {
        let message = format!(
            "the token made {} bytes of a data key, not {KEY_LEN} and a tag of 16",
            sealed.len()
        );
        Fault::new(Kind::Unavailable, message)
    })?;
    Ok(wrap.to_bytes())
}

/// An IV may never be used twice under a key: whether `used`, as the token left it, can be believed.
fn accept(iv: &mut Iv<'_>, given: &[u8], used: &[u8]) -> Result<(), Fault> {
    let fixed = used.iter().all(|byte| *byte == 0);
    match iv {
        Iv::Ours if !fixed => Ok(()),
        Iv::Tokens(last) if !fixed && used != given && used != last.as_slice() => {
            last.clear();
            last.extend_from_slice(used);
            Ok(())
        }
        _ => Err(Fault::new(Kind::KeyState, "the token did not hand back an IV of its own")
            .with_hint("A token that takes ours needs envelope.pkcs11_token_chooses_iv = off.")),
    }
}

/// Unwraps the data key of `wrap`.
pub(super) fn unwrap(
    session: &Session,
    key: ObjectHandle,
    wrap: &KmsWrap<'_>,
    associated_data: &[u8],
) -> Result<Plain, Fault> {
    let mut iv = wrap.iv.to_vec();
    let params = GcmParams::new(&mut iv, associated_data, TAG_BITS.into())?;
    let plain = session.decrypt(&Mechanism::AesGcm(params), key, wrap.sealed);
    Ok(Zeroizing::new(plain?))
}

/// Whether `made`, the wrap of `data_key`, opens under no other associated data: a token may take them and ignore them.
pub(super) fn require_binding(
    session: &Session,
    key: ObjectHandle,
    made: &[u8],
    associated_data: &[u8],
    data_key: &Plain,
) -> Result<(), Fault> {
    let wrap =
        KmsWrap::parse(made).map_err(|error| Fault::new(Kind::Unavailable, error.to_string()))?;
    let another = [associated_data, b" "].concat();
    match unwrap(session, key, &wrap, &another) {
        Ok(_) => Err(Fault::new(
            Kind::KeyState,
            "the token does not bind the encryption context: a wrap opens under another one",
        )
        .with_hint(
            "Its AES-GCM must take associated data. Look for a newer version of its module.",
        )),
        Err(fault) if fault.then == Then::Reconnect => Err(fault),
        // Many a code may say that it does not open, or that the token is out of order. Then this does not open either.
        Err(_) => match unwrap(session, key, &wrap, associated_data)? == *data_key {
            true => Ok(()),
            false => Err(Fault::new(
                Kind::KeyState,
                "the token gives another data key back than it was given",
            )),
        },
    }
}

/// As [`unwrap`]. Of a token that gives no reason this finds out whether it works otherwise: then it is the wrap that
/// does not open.
pub(super) fn unwrap_or_tell(
    session: &Session,
    key: ObjectHandle,
    wrap: &KmsWrap<'_>,
    associated_data: &[u8],
    chooses_iv: bool,
) -> Result<Plain, Fault> {
    unwrap(session, key, wrap, associated_data).map_err(|fault| {
        if fault.then == Then::Try && works(session, key, chooses_iv) {
            Fault { kind: Kind::InvalidWrap, then: Then::Fail, ..fault }
        } else {
            fault
        }
    })
}

/// Whether the token opens what it has just made. One whose key may not encrypt any more is taken at its word.
fn works(session: &Session, key: ObjectHandle, chooses_iv: bool) -> bool {
    const PROBE: &[u8] = b"envelope/1 probe";
    let probe = Zeroizing::new(vec![0; KEY_LEN]);
    let mut unknown = Vec::new();
    let mut iv = if chooses_iv { Iv::Tokens(&mut unknown) } else { Iv::Ours };
    match wrap(session, key, &mut iv, PROBE, &probe) {
        Ok(made) => KmsWrap::parse(&made)
            .is_ok_and(|made| unwrap(session, key, &made, PROBE).is_ok_and(|plain| plain == probe)),
        Err(fault) => fault.kind == Kind::KeyState,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iv_of_the_tokens_is_new_each_time() {
        let zeros = [0; IV_LEN];
        let mut last = Vec::new();
        let mut tokens = |used: &[u8]| accept(&mut Iv::Tokens(&mut last), &zeros, used).is_ok();
        assert!(!tokens(&zeros));
        assert!(tokens(&[1; IV_LEN]));
        assert!(!tokens(&[1; IV_LEN]));
        assert!(tokens(&[2; IV_LEN]));
        assert!(!tokens(&zeros));
    }

    #[test]
    fn ours_may_come_back_or_be_replaced_but_not_by_zeros() {
        let ours = [9; IV_LEN];
        assert!(accept(&mut Iv::Ours, &ours, &ours).is_ok());
        assert!(accept(&mut Iv::Ours, &ours, &[8; IV_LEN]).is_ok());
        assert!(accept(&mut Iv::Ours, &ours, &[0; IV_LEN]).is_err());
    }
}
