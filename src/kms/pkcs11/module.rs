//! A module, as the thread keeps it: loaded once, with a session for each token that is used.

use std::path::PathBuf;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};

use super::super::Kind;
use super::super::uri::Pkcs11Key;
use super::fault::{Fault, Then};
use super::key;
use super::login::Pin;
use crate::pg::exit;

/// How often a token is looked for, and the pause after the first time.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// One module of this process.
pub(super) struct Module {
    path: PathBuf,
    loaded: Option<Pkcs11>,
    /// Initialised by us.
    is_ours: bool,
    /// Of each token by the name that it was asked for.
    sessions: Vec<(Pkcs11Key, Session)>,
    /// What tokens chose last, where they choose.
    pub(super) last_iv: Vec<u8>,
}

impl Module {
    /// Nothing is loaded yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, loaded: None, is_ours: false, sessions: Vec::new(), last_iv: Vec::new() }
    }

    /// Does `work` with the key that `named` names, in a session that is logged in. When the session is found to be
    /// gone, and `again`, once more in another.
    pub(super) fn with_key<T>(
        &mut self,
        named: &Pkcs11Key,
        pin: &Pin,
        again: bool,
        mut work: impl FnMut(&Session, ObjectHandle, &mut Vec<u8>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut last_iv = std::mem::take(&mut self.last_iv);
        let mut once = |module: &mut Self| {
            let session = module.session(named, pin)?;
            work(session, key::find(session, named)?, &mut last_iv)
        };
        let mut done = once(self);
        if done.as_ref().is_err_and(|fault| fault.then == Then::Reconnect) {
            self.sessions.retain(|(of, _)| !is_of_one_token(of, named));
            if again {
                done = once(self);
            }
        }
        self.last_iv = last_iv;
        done
    }

    /// The session of the token that `named` names, opened and logged in unless it is there. A module may see its tokens
    /// once, when it is initialised, and miss one to which another process is writing just then, as SoftHSM does. Or it
    /// loses sight of it later.
    fn session(&mut self, named: &Pkcs11Key, pin: &Pin) -> Result<&Session, Fault> {
        if let Some(at) = self.sessions.iter().position(|(of, _)| is_of_one_token(of, named)) {
            return Ok(&self.sessions[at].1);
        }
        let mut tries = 1..LOOKS;
        loop {
            let module = self.module()?;
            match logged_in(&module, named, pin) {
                Ok(session) => return Ok(&self.sessions.push_mut((named.clone(), session)).1),
                // Not under the feet of another library in this process.
                Err(fault)
                    if fault.then == Then::Look
                        && self.is_ours
                        && let Some(more) = tries.next() =>
                {
                    self.sessions.clear();
                    module.finalize()?;
                    std::thread::sleep(PAUSE * more);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The module, loaded and initialised.
    fn module(&mut self) -> Result<Pkcs11, Fault> {
        let module = match &self.loaded {
            Some(module) => module.clone(),
            None => {
                let module = Pkcs11::new(&self.path).map_err(|error| self.not_loaded(error))?;
                exit::skip_destructors();
                self.loaded.insert(module).clone()
            }
        };
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => {
                self.is_ours = true;
                self.sessions.clear();
                // Libraries that it loads may have registered what is to run at the end, too.
                exit::skip_destructors();
            }
            // By us, or by another library in this process.
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(module)
    }

    fn not_loaded(&self, error: Error) -> Fault {
        let path = self.path.display();
        match error {
            Error::LibraryLoading(why) => {
                let message = format!("could not load PKCS#11 module \"{path}\": {why}");
                Fault::new(Kind::BadUri, message).with_hint(
                    "Set envelope.pkcs11_module to a module that the server's user can read, with all libraries that \
                     it needs.",
                )
            }
            other => other.into(),
        }
    }
}

/// A session of the token that `named` names.
fn logged_in(module: &Pkcs11, named: &Pkcs11Key, pin: &Pin) -> Result<Session, Fault> {
    let (slot, token) = token(module, named)?;
    let session = module.open_ro_session(slot)?;
    let as_it_is_now = || {
        let info = module.get_token_info(slot);
        info.map_err(|error| Fault { then: Then::Look, ..error.into() })
    };
    pin.log_in(&session, &token, as_it_is_now)?;
    Ok(session)
}

/// The one token that `named` names.
fn token(module: &Pkcs11, named: &Pkcs11Key) -> Result<(Slot, TokenInfo), Fault> {
    let slots = module.get_slots_with_token()?;
    if slots.is_empty() {
        let fault = Fault::new(Kind::Unavailable, "the module sees no token").with_hint(
            "Look whether the token is connected, with its own tools and as the server's user.",
        );
        return Err(Fault { then: Then::Look, ..fault });
    }
    let mut unread = None;
    let mut found = Vec::new();
    for slot in slots {
        match module.get_token_info(slot) {
            Ok(token) if is_named(&token, named) => found.push((slot, token)),
            Ok(_) => {}
            Err(error) => unread = Some(error),
        }
    }
    match (found.len(), unread) {
        (2.., _) => Err(Fault::new(Kind::KeyState, format!("the module has {} such tokens", found.len()))
            .with_hint("Name the one by its serial number, too: pkcs11:...;serial=...")),
        (_, unread) => found.pop().ok_or_else(|| {
            let missing = || {
                Fault::new(Kind::KeyState, "the module has no such token").with_hint(
                    "Compare the KEK's name with what the token's own tools show, as the server's user and in its \
                     environment.",
                )
            };
            Fault { then: Then::Look, ..unread.map_or_else(missing, Fault::from) }
        }),
    }
}

/// Whether both name their token alike.
fn is_of_one_token(one: &Pkcs11Key, other: &Pkcs11Key) -> bool {
    one.token() == other.token()
        && one.serial() == other.serial()
        && one.manufacturer() == other.manufacturer()
        && one.model() == other.model()
}

fn is_named(token: &TokenInfo, named: &Pkcs11Key) -> bool {
    let is = |wanted: Option<&str>, shown: &str| wanted.is_none_or(|wanted| wanted == shown);
    token.token_initialized()
        && is(named.token(), token.label())
        && is(named.serial(), token.serial_number())
        && is(named.manufacturer(), token.manufacturer_id())
        && is(named.model(), token.model())
}
