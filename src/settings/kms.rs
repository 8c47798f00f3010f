//! Settings about reaching a KMS. Each is one text; the provider that it is for reads it.

use std::ffi::CStr;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{ShownTo, Text, at_role_change, define_bool, define_text, text};

/// A setting that holds text.
pub struct Setting {
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    value: Text,
    shown_to: ShownTo,
}

impl Setting {
    const fn new(name: &'static CStr, short: &'static CStr, long: &'static CStr) -> Setting {
        Setting { name, short, long, value: Text::new(None), shown_to: ShownTo::All }
    }

    /// One that says where a secret is, or is half of one.
    const fn hidden(name: &'static CStr, short: &'static CStr, long: &'static CStr) -> Setting {
        Setting { shown_to: ShownTo::Trusted, ..Setting::new(name, short, long) }
    }

    /// What it is set to; empty counts as unset.
    pub fn get(&'static self) -> Option<String> {
        text(&self.value)
    }
}

const BY_SERVER: &CStr = c"One value for all servers, or comma-separated host:port=value pairs.";

pub static AWS_REGION: Setting = Setting::new(
    c"envelope.aws_region",
    c"AWS region of KEKs whose URI names none.",
    c"Unset: the AWS SDK's default chain decides.",
);
pub static AWS_ENDPOINT_URL: Setting = Setting::new(
    c"envelope.aws_endpoint_url",
    c"AWS KMS endpoint, as a URL or as comma-separated region=URL pairs.",
    c"Unset: the region's public endpoint.",
);
// Above all for ALTER ROLE ... SET and functions' SET clauses, as is vault_role.
static AWS_ROLE_ARN: Setting = Setting::new(
    c"envelope.aws_role_arn",
    c"IAM role that the server assumes to use AWS KMS.",
    c"Its session is named after the current database role. Unset: the server's own identity.",
);
static VAULT_ROLE: Setting = Setting::new(
    c"envelope.vault_role",
    c"Role of OpenBao or Vault to log in as.",
    c"One role for all servers, or comma-separated host:port=role pairs. For the methods jwt, kubernetes and cert.",
);
pub static VAULT_AUTH: Setting = Setting::new(
    c"envelope.vault_auth",
    c"How to log in to OpenBao or Vault: token, approle, jwt, kubernetes or cert.",
    c"Unset: token. One method for all servers, or comma-separated host:port=method pairs.",
);
pub static VAULT_AUTH_MOUNT: Setting = Setting::new(
    c"envelope.vault_auth_mount",
    c"Where OpenBao or Vault has the login method mounted.",
    c"Unset: under the method's own name. One mount for all servers, or comma-separated host:port=mount pairs.",
);
pub static VAULT_NAMESPACE: Setting =
    Setting::new(c"envelope.vault_namespace", c"Namespace of OpenBao or Vault.", BY_SERVER);
pub static VAULT_TOKEN_FILE: Setting = Setting::hidden(
    c"envelope.vault_token_file",
    c"File with a token for OpenBao or Vault, as an agent writes it.",
    BY_SERVER,
);
pub static VAULT_ROLE_ID: Setting = Setting::hidden(
    c"envelope.vault_role_id",
    c"Role id for the login method approle of OpenBao or Vault.",
    BY_SERVER,
);
pub static VAULT_SECRET_ID_FILE: Setting = Setting::hidden(
    c"envelope.vault_secret_id_file",
    c"File with the secret id for the login method approle of OpenBao or Vault.",
    BY_SERVER,
);
pub static VAULT_JWT_FILE: Setting = Setting::hidden(
    c"envelope.vault_jwt_file",
    c"File with the token for the login methods jwt and kubernetes of OpenBao or Vault.",
    BY_SERVER,
);
pub static VAULT_CLIENT_CERT_FILE: Setting = Setting::hidden(
    c"envelope.vault_client_cert_file",
    c"File with the certificate that OpenBao or Vault is shown, in PEM.",
    BY_SERVER,
);
pub static VAULT_CLIENT_KEY_FILE: Setting = Setting::hidden(
    c"envelope.vault_client_key_file",
    c"File with the key of that certificate, in PEM.",
    BY_SERVER,
);
pub static VAULT_CA_FILE: Setting = Setting::hidden(
    c"envelope.vault_ca_file",
    c"File with the CAs that may have signed the certificate of OpenBao or Vault, in PEM.",
    c"Unset: the CAs that the system trusts. One file for all servers, or comma-separated host:port=file pairs.",
);
pub static PKCS11_MODULE: Setting = Setting::hidden(
    c"envelope.pkcs11_module",
    c"Absolute path of the PKCS#11 module that is loaded.",
    c"It runs in the server's processes.",
);
pub static PKCS11_PIN_FILE: Setting = Setting::hidden(
    c"envelope.pkcs11_pin_file",
    c"File with the PIN of the token.",
    c"Only the server's user may be able to read it.",
);
static PKCS11_TOKEN_CHOOSES_IV: GucSetting<bool> = GucSetting::<bool>::new(false);
pub static KMIP_CA_FILE: Setting = Setting::hidden(
    c"envelope.kmip_ca_file",
    c"File with the CAs that may have signed the certificate of a KMIP server, in PEM.",
    c"Unset: the CAs that the system trusts. One file for all servers, or comma-separated host:port=file pairs.",
);
pub static KMIP_CLIENT_CERT_FILE: Setting = Setting::hidden(
    c"envelope.kmip_client_cert_file",
    c"File with the certificate that a KMIP server is shown, in PEM.",
    BY_SERVER,
);
pub static KMIP_CLIENT_KEY_FILE: Setting = Setting::hidden(
    c"envelope.kmip_client_key_file",
    c"File with the key of that certificate, in PEM.",
    BY_SERVER,
);

static FALLOVER_TO_WEAKER: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Those that say as whom a KMS is asked.
static ROLES: [&Setting; 2] = [&AWS_ROLE_ARN, &VAULT_ROLE];

static OTHERS: [&Setting; 17] = [
    &AWS_REGION,
    &AWS_ENDPOINT_URL,
    &VAULT_AUTH,
    &VAULT_AUTH_MOUNT,
    &VAULT_NAMESPACE,
    &VAULT_TOKEN_FILE,
    &VAULT_ROLE_ID,
    &VAULT_SECRET_ID_FILE,
    &VAULT_JWT_FILE,
    &VAULT_CLIENT_CERT_FILE,
    &VAULT_CLIENT_KEY_FILE,
    &VAULT_CA_FILE,
    &PKCS11_MODULE,
    &PKCS11_PIN_FILE,
    &KMIP_CA_FILE,
    &KMIP_CLIENT_CERT_FILE,
    &KMIP_CLIENT_KEY_FILE,
];

pub(super) fn define() {
    for setting in OTHERS {
        let Setting { name, short, long, value, shown_to } = setting;
        define_text(name, short, long, value, *shown_to);
    }
    for role in ROLES {
        // SAFETY: the hook raises nothing and only sets a flag.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                role.name,
                role.short,
                role.long,
                &role.value,
                GucContext::Suset,
                GucFlags::empty(),
                None,
                Some(at_role_change),
                None,
            );
        }
    }
    define_bool(
        c"envelope.pkcs11_token_chooses_iv",
        c"Whether the token draws the IV of a wrap and hands it back.",
        c"Some hardware takes none but its own. A token that keeps to the IV it was given is refused then.",
        &PKCS11_TOKEN_CHOOSES_IV,
    );
    define_bool(
        c"envelope.fallover_to_weaker",
        c"Whether a KEK that is out of reach is replaced by one that binds the encryption context less.",
        c"Off: only by one whose KMS decides by the context and logs it as well.",
        &FALLOVER_TO_WEAKER,
    );
}

/// `envelope.aws_role_arn` and `envelope.vault_role`.
pub fn roles() -> (Option<String>, Option<String>) {
    (AWS_ROLE_ARN.get(), VAULT_ROLE.get())
}

/// Whether neither of [`roles`] is set.
pub fn is_server_alone() -> bool {
    ROLES.iter().all(|role| role.get().is_none())
}

/// `envelope.pkcs11_token_chooses_iv`.
pub fn pkcs11_token_chooses_iv() -> bool {
    PKCS11_TOKEN_CHOOSES_IV.get()
}

/// `envelope.fallover_to_weaker`.
pub fn fallover_to_weaker() -> bool {
    FALLOVER_TO_WEAKER.get()
}
