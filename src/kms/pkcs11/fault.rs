//! What went wrong in a module or a token, and what it means.
//!
//! PKCS#11 leaves modules much freedom in their return codes, and they use it. Codes that say where the trouble is are
//! taken at their word; of the others the call decides in which they came.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use super::super::{Kind, KmsError};

/// CKR_AEAD_DECRYPT_FAILED, which the crate does not know.
const AEAD_DECRYPT_FAILED: u64 = 0x42;

/// Why a call failed, without the KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) then: Then,
}

/// What may be done about it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Fail,
    /// The session is gone: another one, and once more.
    Reconnect,
    /// A wrap does not open, or the token is out of order: the code does not say. See whether it opens another.
    Try,
    /// The token is not seen: once more, after a moment.
    Look,
    /// The PIN is not to be given to the token again.
    NeverAgain,
}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, then: Then::Fail }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<KmsError> for Fault {
    fn from(error: KmsError) -> Self {
        Self {
            kind: error.kind,
            message: error.message,
            hint: error.hint.map(Into::into),
            then: Then::Fail,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => of_code(code, function),
            Error::NullFunctionPointer | Error::MissingSymbol(_) => Fault::new(
                Kind::BadUri,
                format!("the module lacks a function that is needed: {error}"),
            )
            .with_hint("Set envelope.pkcs11_module to a PKCS#11 module of version 2.40 or later."),
            other => Fault::new(
                Kind::Unavailable,
                format!("the module's answer makes no sense: {other}"),
            ),
        }
    }
}

const LOOK_AT_THE_TOKEN: &str = "Look whether the token is there and answers, with its own tools.";

/// What a return code means, of the function that gave it.
fn of_code(code: RvError, function: Function) -> Fault {
    let (kind, then, hint) = meaning(code, function);
    let answered = format!("{} answered {}", c_name(function), name(code));
    Fault { kind, message: answered, hint: hint.map(str::to_owned), then }
}

fn meaning(code: RvError, function: Function) -> (Kind, Then, Option<&'static str>) {
    use RvError as R;
    let opening = matches!(function, Function::Decrypt | Function::DecryptInit);
    match code {
        R::PinIncorrect | R::PinInvalid | R::PinLenRange => (
            Kind::Credentials,
            Then::NeverAgain,
            Some("Write the token's PIN into the file that envelope.pkcs11_pin_file names."),
        ),
        // No wrong PIN: trying again takes nothing from the token's patience.
        // So does SoftHSM answer of a token to which another process is writing just then.
        R::PinExpired | R::PinLocked | R::UserPinNotInitialized => (
            Kind::Credentials,
            if code == R::UserPinNotInitialized { Then::Look } else { Then::Fail },
            Some(
                "Have the token's security officer set its PIN, then write it into the PIN file anew.",
            ),
        ),
        R::UserAnotherAlreadyLoggedIn | R::UserTypeInvalid | R::UserTooManyTypes => {
            (Kind::Credentials, Then::Fail, None)
        }
        R::ActionProhibited | R::FunctionRejected => (Kind::Denied, Then::Fail, None),

        R::SessionClosed
        | R::SessionHandleInvalid
        | R::UserNotLoggedIn
        | R::CryptokiNotInitialized
        | R::DeviceRemoved
        | R::TokenNotPresent
        | R::SlotIdInvalid
        | R::ObjectHandleInvalid
        | R::KeyHandleInvalid
        | R::OperationActive => (Kind::Unavailable, Then::Reconnect, Some(LOOK_AT_THE_TOKEN)),
        R::SessionCount => (
            Kind::Throttled,
            Then::Fail,
            Some(
                "The token has no session left. Each backend that uses it has one: use a pooler, or allow more.",
            ),
        ),

        R::MechanismInvalid | R::FunctionNotSupported => (
            Kind::KeyState,
            Then::Fail,
            Some("The token must do AES-GCM (CKM_AES_GCM) with this key."),
        ),
        R::MechanismParamInvalid | R::ArgumentsBad => (
            Kind::KeyState,
            Then::Fail,
            Some(
                "A token that chooses the IV of AES-GCM itself needs envelope.pkcs11_token_chooses_iv = on.",
            ),
        ),
        R::KeyFunctionNotPermitted
        | R::KeySizeRange
        | R::KeyTypeInconsistent
        | R::KeyNotNeeded
        | R::KeyChanged
        | R::KeyNeeded => (
            Kind::KeyState,
            Then::Fail,
            Some(
                "The key must be an AES key of 32 bytes that may encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT).",
            ),
        ),

        R::EncryptedDataInvalid
        | R::EncryptedDataLenRange
        | R::DataInvalid
        | R::DataLenRange
        | R::SignatureInvalid
        | R::UnknownErrorCode(AEAD_DECRYPT_FAILED)
            if opening =>
        {
            (Kind::InvalidWrap, Then::Fail, None)
        }
        // SoftHSM says nothing else of a tag that does not verify; others say so of a cable that came loose.
        R::GeneralError | R::FunctionFailed | R::DeviceError if opening => {
            (Kind::Unavailable, Then::Try, Some(LOOK_AT_THE_TOKEN))
        }
        // Vendors' own codes, memory, general failures.
        _ => (Kind::Unavailable, Then::Fail, Some(LOOK_AT_THE_TOKEN)),
    }
}

/// The name that the standard gives it, in C.
fn c_name(function: Function) -> String {
    format!("C_{function:?}")
}

/// As the standard writes it: `PinIncorrect` is CKR_PIN_INCORRECT.
fn name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => format!("0x{code:X}"),
        known => {
            let mut name = String::from("CKR");
            for letter in format!("{known:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SoftHSM 2.6.1, Kryoptic 1.5.4 and others answered, and what users see.
    #[test]
    fn answers_are_told_apart() {
        use Function as F;
        use RvError as R;
        for (code, function, kind, then) in [
            // SoftHSM of a wrong tag or other associated data, and Kryoptic of the same.
            (R::GeneralError, F::Decrypt, Kind::Unavailable, Then::Try),
            (R::EncryptedDataInvalid, F::Decrypt, Kind::InvalidWrap, Then::Fail),
            (R::EncryptedDataLenRange, F::Decrypt, Kind::InvalidWrap, Then::Fail),
            (R::DeviceError, F::Decrypt, Kind::Unavailable, Then::Try),
            (R::UnknownErrorCode(0x42), F::Decrypt, Kind::InvalidWrap, Then::Fail),
            // The same codes where nothing was to be opened.
            (R::GeneralError, F::Encrypt, Kind::Unavailable, Then::Fail),
            (R::GeneralError, F::Initialize, Kind::Unavailable, Then::Fail),
            (R::DeviceError, F::Login, Kind::Unavailable, Then::Fail),
            (R::EncryptedDataInvalid, F::Encrypt, Kind::Unavailable, Then::Fail),
            // PINs.
            (R::PinIncorrect, F::Login, Kind::Credentials, Then::NeverAgain),
            (R::PinLenRange, F::Login, Kind::Credentials, Then::NeverAgain),
            (R::PinInvalid, F::Login, Kind::Credentials, Then::NeverAgain),
            (R::PinLocked, F::Login, Kind::Credentials, Then::Fail),
            (R::PinExpired, F::Login, Kind::Credentials, Then::Fail),
            (R::UserPinNotInitialized, F::Login, Kind::Credentials, Then::Look),
            // The key.
            (R::KeyFunctionNotPermitted, F::EncryptInit, Kind::KeyState, Then::Fail),
            (R::KeyTypeInconsistent, F::DecryptInit, Kind::KeyState, Then::Fail),
            // TPM and opencryptoki.
            (R::MechanismInvalid, F::EncryptInit, Kind::KeyState, Then::Fail),
            (R::FunctionNotSupported, F::Encrypt, Kind::KeyState, Then::Fail),
            // AWS CloudHSM of an IV that is ours.
            (R::MechanismParamInvalid, F::EncryptInit, Kind::KeyState, Then::Fail),
            (R::ArgumentsBad, F::EncryptInit, Kind::KeyState, Then::Fail),
            // Sessions and tokens that went away.
            (R::SessionHandleInvalid, F::FindObjectsInit, Kind::Unavailable, Then::Reconnect),
            (R::UserNotLoggedIn, F::EncryptInit, Kind::Unavailable, Then::Reconnect),
            (R::CryptokiNotInitialized, F::OpenSession, Kind::Unavailable, Then::Reconnect),
            (R::DeviceRemoved, F::Decrypt, Kind::Unavailable, Then::Reconnect),
            (R::TokenNotPresent, F::OpenSession, Kind::Unavailable, Then::Reconnect),
            (R::SessionCount, F::OpenSession, Kind::Throttled, Then::Fail),
            (R::ActionProhibited, F::EncryptInit, Kind::Denied, Then::Fail),
            (R::VendorDefined(0x8000_0001), F::Decrypt, Kind::Unavailable, Then::Fail),
            (R::HostMemory, F::Decrypt, Kind::Unavailable, Then::Fail),
        ] {
            let fault = Fault::from(Error::Pkcs11(code, function));
            assert_eq!((fault.kind, fault.then), (kind, then), "{code:?} of {function:?}");
        }
    }

    #[test]
    fn codes_and_functions_bear_the_standards_names() {
        let message = |code, function| Fault::from(Error::Pkcs11(code, function)).message;
        assert_eq!(
            message(RvError::PinIncorrect, Function::Login),
            "C_Login answered CKR_PIN_INCORRECT"
        );
        let vendors = message(RvError::VendorDefined(0x8000_00AB), Function::Decrypt);
        assert_eq!(vendors, "C_Decrypt answered 0x800000AB");
    }
}
