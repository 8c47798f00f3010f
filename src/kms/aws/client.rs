//! Making AWS clients, and keeping them: a client holds the connections and the credentials.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_kms::Client;

use super::super::uri::AwsKey;
use super::super::{Config, Identity, KekUri, Kind, KmsError};
use super::assumed::AssumedRole;
use super::closing::Closing;
use super::endpoint::Endpoints;
use super::fault::Request;
use super::short::ShortAnswers;

/// More clients than a backend needs at once; a backend that changes its settings for ever must
/// not grow for ever.
const MAX_CLIENTS: usize = 16;

/// All that makes one client differ from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClientConfig {
    region: Option<String>,
    endpoints: Option<Endpoints>,
    role: Option<AssumedRole>,
    pub(super) timeout: Duration,
    max_attempts: u32,
}

impl ClientConfig {
    /// The key's own region goes before the setting.
    pub(super) fn new(key: &AwsKey, config: &Config) -> Result<Self, KmsError> {
        let set = |setting: &Option<String>| setting.clone().filter(|text| !text.trim().is_empty());
        let endpoints = set(&config.aws.endpoint_url)
            .map(|setting| Endpoints::parse(&setting))
            .transpose()
            .map_err(|why| {
                let kek = KekUri::Aws(key.clone());
                KmsError::new(Kind::BadUri, kek, format!("envelope.aws_endpoint_url: {why}"))
            })?;
        let role = config.identity.as_ref().and_then(Identity::aws_role);
        let role = role.map(|(arn, database_role)| AssumedRole::new(arn, database_role));
        if let Some(role) = &role {
            role.arn()?;
        }
        Ok(Self {
            role,
            region: key.region().map(str::to_owned).or_else(|| set(&config.aws.region)),
            endpoints,
            timeout: config.limits.timeout,
            max_attempts: config.limits.max_attempts.max(1),
        })
    }
}

thread_local! {
    // On the client's thread alone: what is in it lives and dies with its runtime.
    static CLIENTS: RefCell<HashMap<ClientConfig, Client>> = RefCell::default();
}

/// The client for `config`: the one there is, or a new one. To be called on the client's thread.
pub(super) async fn client(config: &ClientConfig, request: &Request) -> Result<Client, KmsError> {
    if let Some(client) = CLIENTS.with_borrow(|clients| clients.get(config).cloned()) {
        return Ok(client);
    }
    require_descriptors(request)?;
    let shared = load(config).await;
    let Some(region) = shared.region() else {
        return Err(request
            .fault(Kind::BadUri, "no AWS region is known for it: envelope.aws_region is not set")
            .with_hint(
                "Name the key by its ARN, set envelope.aws_region, or give the server AWS_REGION.",
            ));
    };
    let endpoint = config.endpoints.as_ref().and_then(|endpoints| endpoints.of(region.as_ref()));
    let mut builder = aws_sdk_kms::config::Builder::from(&shared);
    builder
        .set_endpoint_url(endpoint.map(str::to_owned).or(shared.endpoint_url().map(str::to_owned)));
    if let Some(role) = &config.role {
        builder = builder.credentials_provider(assume(role, &shared).await?);
    }
    let client = Client::from_conf(builder.interceptor(ShortAnswers).interceptor(Closing).build());
    CLIENTS.with_borrow_mut(|clients| {
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(config.clone(), client.clone());
    });
    Ok(client)
}

/// The credentials of an assumed role, which the client renews in time. STS is asked with the
/// server's own; its endpoint is AWS's, or what the SDK's own `AWS_ENDPOINT_URL_STS` says.
async fn assume(role: &AssumedRole, shared: &SdkConfig) -> Result<AssumeRoleProvider, KmsError> {
    let provider = AssumeRoleProvider::builder(role.arn()?).session_name(role.session_name());
    Ok(provider.configure(shared).build().await)
}

/// Descriptors that making a client and its first connection take, with some to spare.
const DESCRIPTORS: usize = 16;

/// An error while few file descriptors are left. A client made then would find no certificates to
/// trust, and the process would keep that answer.
fn require_descriptors(request: &Request) -> Result<(), KmsError> {
    let spare: std::io::Result<Vec<_>> =
        (0..DESCRIPTORS).map(|_| std::fs::File::open("/dev/null")).collect();
    spare.map(|_| ()).map_err(|error| {
        request.fault(Kind::Unavailable, format!("no file descriptors for the KMS client: {error}"))
    })
}

/// Throws the client away, so that the next request reads profile files and tokens anew: the
/// client itself would go on with what it once read.
pub(super) fn forget(config: &ClientConfig) {
    CLIENTS.with_borrow_mut(|clients| clients.remove(config));
}

/// The SDK's default chain: environment, profile, web identity, ECS, instance role.
async fn load(config: &ClientConfig) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(config.max_attempts))
        .timeout_config(TimeoutConfig::builder().operation_timeout(config.timeout).build());
    match &config.region {
        Some(region) => loader.region(Region::new(region.clone())).load().await,
        None => loader.load().await,
    }
}
