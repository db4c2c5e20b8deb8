//! Where Redis is, and how connections to it are made.

use super::connection::{CallError, RedisConnection, Refusal};
use super::ANSWER;
use eventsource_xs::wire::RedisSettings;
use redis::io::tcp::{socket2::TcpKeepalive, TcpSettings};
use redis::{
    cmd, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates, Value,
};
use std::fs;
use std::time::Duration;

/// The time that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// The settings that connections need.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub sentinel_login: String,
    /// The address for people: neither user nor password.
    pub shown: String,
    ca: String,
    cert: String,
    key: String,
    pub timeout: Duration,
}

impl Endpoint {
    pub fn new(settings: &RedisSettings) -> Self {
        let RedisSettings { url, sentinel_login, ca, cert, key, timeout, .. } = settings;
        let timeout = CONNECT.min(*timeout).max(Duration::from_millis(100));
        let [url, sentinel_login, ca, cert, key] = [url, sentinel_login, ca, cert, key].map(|text| text.to_string());
        Self { url, sentinel_login, shown: shown_address(&settings.shown_url()), ca, cert, key, timeout }
    }

    /// True if Sentinels know which Redis is the master.
    pub fn has_sentinels(&self) -> bool {
        self.url.starts_with("redis-sentinel://") || self.url.starts_with("rediss-sentinel://")
    }

    /// Connects to a Redis, if it takes entries. One that may not be asked for its role is taken for a master.
    pub fn master(&self, url: &str) -> Result<RedisConnection, CallError> {
        let mut connection = self.connect(url)?;
        match connection.call(&cmd("ROLE")) {
            Ok(Value::Array(parts)) if parts.first().and_then(super::entry::text) == Some(b"slave") => {
                let message = format!("{} is a replica", connection.address);
                Err(CallError::Refused(Refusal { code: "READONLY".into(), message }))
            }
            Ok(_) | Err(CallError::Refused(_)) => Ok(connection),
            Err(fault) => Err(fault),
        }
    }

    /// Connects to a Redis.
    pub fn connect(&self, url: &str) -> Result<RedisConnection, CallError> {
        self.open(self.info(url)?, url, ANSWER)
    }

    fn open(&self, info: ConnectionInfo, url: &str, timeout: Duration) -> Result<RedisConnection, CallError> {
        let address = info.addr().to_string();
        let connection = Client::open(info)?.get_connection_with_timeout(self.timeout)?;
        RedisConnection::new(connection, url, address, timeout)
    }

    pub fn info(&self, url: &str) -> Result<ConnectionInfo, CallError> {
        let info = url.into_connection_info().map_err(|error| CallError::Invalid(error.to_string()))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(CallError::Invalid(
                "#insecure is not supported: name the authority's certificate instead".into(),
            ));
        }
        let with_certificates = |info: ConnectionInfo| -> Result<ConnectionInfo, CallError> {
            let certificates =
                TlsCertificates { client_tls: self.client_certificate()?, root_cert: self.authorities()? };
            Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone())
        };
        let info = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) { with_certificates(info)? } else { info };
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let redis = info.redis_settings().clone().set_lib_name("eventsource-hub", env!("CARGO_PKG_VERSION"));
        Ok(info.set_tcp_settings(tcp).set_redis_settings(redis))
    }

    fn client_certificate(&self) -> Result<Option<ClientTlsConfig>, CallError> {
        if self.cert.is_empty() {
            return Ok(None);
        }
        Ok(Some(ClientTlsConfig { client_cert: read(&self.cert)?, client_key: read(&self.key)? }))
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, CallError> {
        Ok(if self.ca.is_empty() { None } else { Some(read(&self.ca)?) })
    }

    /// Asks a server one thing.
    pub fn query(&self, info: ConnectionInfo, command: &Cmd) -> Result<Value, CallError> {
        self.open(info, "", self.timeout)?.call(command)
    }
}

fn read(path: &str) -> Result<Vec<u8>, CallError> {
    fs::read(path).map_err(|error| CallError::Cut(format!("{path}: {error}")))
}

/// Returns the hosts of a URL without user and password, for messages.
fn shown_address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches("/0").trim_end_matches('/').to_owned()
}
