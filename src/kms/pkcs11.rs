//! KEKs in tokens that a PKCS#11 module reaches: HSMs, smart cards, SoftHSM.
//!
//! The token encrypts and decrypts; the KEK never leaves it. The encryption context is AES-GCM's associated data, so the
//! token binds it and sees no more of it. The module is a library of others' in this process: it is called on a thread
//! of its own ([`thread`]), and what it leaves for the end of the process is not run ([`crate::pg::exit`]).

mod fault;
mod gcm;
mod key;
mod login;
mod module;
mod thread;

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use envelope::wrap::kms_wrap::{self, KmsWrap};
use zeroize::Zeroizing;

use self::fault::Fault;
use self::gcm::{Iv, Plain};
use self::login::Pin;
use self::module::Module;
use self::thread::{CallError, Thread};
use super::uri::Pkcs11Key;
use super::{Config, Generated, KekUri, Kind, KmsError, Limits, Provider, Unwrapped, Wrap, call};
use crate::figures::Operation;
use crate::pg::{exit, wait};

const MODULE: &str = "envelope.pkcs11_module";

thread_local! {
    /// One for each module that this backend has used.
    static THREADS: RefCell<HashMap<PathBuf, Rc<Thread<Module>>>> = RefCell::new(HashMap::new());
}

/// One key in a token.
pub(super) struct Pkcs11Provider {
    key: Pkcs11Key,
    module: PathBuf,
    pin: Pin,
    token_chooses_iv: bool,
    limits: Limits,
}

impl Pkcs11Provider {
    pub(super) fn new(key: &Pkcs11Key, config: &Config) -> Result<Self, KmsError> {
        let settings = &config.pkcs11;
        let unfit = |name: &str, why: &str| {
            KmsError::new(Kind::BadUri, KekUri::Pkcs11(key.clone()), format!("{name} {why}"))
                .with_hint(format!("Set {name} to an absolute path."))
        };
        let text = |name: &str, value: &Option<String>| {
            value.clone().ok_or_else(|| unfit(name, "is not set"))
        };
        let module = PathBuf::from(text(MODULE, &settings.module)?);
        if !module.is_absolute() {
            return Err(unfit(MODULE, "is not an absolute path"));
        }
        Ok(Self {
            key: key.clone(),
            module,
            pin: Pin {
                file: text(login::SETTING, &settings.pin_file)?,
                remembered_in: settings.remembered_in.clone(),
                kek: KekUri::Pkcs11(key.clone()),
            },
            token_chooses_iv: settings.token_chooses_iv,
            limits: config.limits,
        })
    }

    /// Does `work` with the key, on the module's thread, within the timeout, and counts it.
    fn call<T: Send + 'static>(
        &self,
        counted_as: Operation,
        work: impl FnMut(&Session, ObjectHandle, &mut Vec<u8>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, KmsError> {
        exit::watch();
        let (key, pin, again) = (self.key.clone(), self.pin.clone(), self.limits.max_attempts > 1);
        call::counted(
            || KekUri::Pkcs11(self.key.clone()),
            counted_as,
            || {
                let thread = thread_of(&self.module).map_err(|error| self.unanswered(&error))?;
                thread
                    .call(self.limits.timeout, wait::until_readable_for, move |module| {
                        module.with_key(&key, &pin, again, work)
                    })
                    .map_err(|error| self.unanswered(&error))?
                    .map_err(|fault| self.failed(fault))
            },
        )
    }

    fn unanswered(&self, error: &CallError) -> KmsError {
        let fault = Fault::new(Kind::Unavailable, error.to_string());
        self.failed(match error {
            CallError::Hangs(_) => fault.with_hint(
                "A call of a module cannot be interrupted. This session asks again when it answers. Look at the token, \
                 or raise envelope.kms_timeout.",
            ),
            CallError::Start(_) | CallError::Died(_) => fault,
        })
    }

    fn failed(&self, fault: Fault) -> KmsError {
        let hint = fault.hint.unwrap_or_else(|| match fault.kind {
            Kind::InvalidWrap => {
                "The wrap was changed, or belongs to another encryption context, or the key in the token is another \
                 one under the old name."
            }
            _ => "Look at the token with its own tools, as the server's user, and at what its module logs.",
        }.into());
        KmsError::new(fault.kind, KekUri::Pkcs11(self.key.clone()), fault.message).with_hint(hint)
    }

    /// Wraps `data_key` if the key is fit for it.
    fn wrap_plain(
        &self,
        counted_as: Operation,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Wrap, KmsError> {
        let data_key: Plain = Zeroizing::new(data_key.as_bytes().to_vec());
        let associated_data = kms_wrap::associated_data(&context.canonical_json());
        let chooses = self.token_chooses_iv;
        let bytes = self.call(counted_as, move |session, key, last| {
            key::check(session, key)?;
            let mut iv = if chooses { Iv::Tokens(last) } else { Iv::Ours };
            let made = gcm::wrap(session, key, &mut iv, &associated_data, &data_key)?;
            gcm::require_binding(session, key, &made, &associated_data, &data_key)?;
            Ok(made)
        });
        Ok(Wrap {
            kek: KekUri::Pkcs11(self.key.clone()),
            bytes: bytes.map_err(|error| error.of_context(context))?,
        })
    }
}

impl Provider for Pkcs11Provider {
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError> {
        let data_key = DataKey::from_fn(|key| getrandom::fill(key)).map_err(|error| {
            let message = format!("no random bytes to be had: {error}");
            KmsError::new(Kind::Unavailable, KekUri::Pkcs11(self.key.clone()), message)
        })?;
        let wrap = self.wrap_plain(Operation::Generate, &data_key, context)?;
        Ok(Generated { data_key, wrap, request_id: None })
    }

    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError> {
        self.wrap_plain(Operation::Wrap, data_key, context)
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError> {
        let invalid = |message: String| self.failed(Fault::new(Kind::InvalidWrap, message));
        KmsWrap::parse(wrapped).map_err(|error| invalid(error.to_string()))?;
        let (wrapped, associated_data) =
            (wrapped.to_vec(), kms_wrap::associated_data(&context.canonical_json()));
        let chooses = self.token_chooses_iv;
        let opened = self.call(Operation::Unwrap, move |session, key, _| {
            let wrap = KmsWrap::parse(&wrapped)
                .map_err(|error| Fault::new(Kind::InvalidWrap, error.to_string()))?;
            gcm::unwrap_or_tell(session, key, &wrap, &associated_data, chooses)
        });
        let opened = opened.map_err(|error| error.of_context(context))?;
        let data_key =
            DataKey::try_from_slice(&opened).map_err(|error| invalid(error.to_string()))?;
        Ok(Unwrapped { data_key, request_id: None })
    }

    fn check(&self) -> Result<KekUri, KmsError> {
        self.examine().map(|_| KekUri::Pkcs11(self.key.clone()))
    }

    fn examine(&self) -> Result<Vec<String>, KmsError> {
        self.call(Operation::Describe, |session, key, _| key::check(session, key))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What the end of a process waits for a call that runs: SoftHSM writes its token anew while somebody logs in, and one
/// that dies meanwhile leaves it empty.
const SETTLE: Duration = Duration::from_millis(500);

/// Ends with no call half done, unless it hangs.
pub(super) fn shutdown() {
    // At the exit of a process the slot may be gone already.
    let _ = THREADS.try_with(|threads| {
        let Ok(threads) = threads.try_borrow() else { return };
        threads
            .values()
            .filter(|thread| thread.is_usable())
            .for_each(|thread| thread.settle(SETTLE));
    });
}

/// The thread of the module at `path`; starts it if it is not there.
fn thread_of(path: &Path) -> Result<Rc<Thread<Module>>, CallError> {
    THREADS.with_borrow_mut(|threads| {
        if let Some(thread) = threads.get(path) {
            if thread.is_usable() {
                return Ok(thread.clone());
            }
            // After a fork the thread stayed with the parent.
            std::mem::forget(threads.remove(path));
        }
        let module = path.to_owned();
        let thread = Rc::new(Thread::start(move || Module::new(module))?);
        threads.insert(path.to_owned(), thread.clone());
        Ok(thread)
    })
}
