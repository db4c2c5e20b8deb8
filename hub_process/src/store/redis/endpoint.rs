//! Where Redis is, and how connections to it are made.

use super::connection::{CallError, RedisConnection};
use super::ANSWER;
use eventsource_xs::wire::RedisSettings;
use redis::io::tcp::{socket2::TcpKeepalive, TcpSettings};
use redis::{
    cmd, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    TlsCertificates, Value,
};
use std::fs;
use std::time::Duration;

/// The longest time that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// The settings, for connections.
#[derive(Clone)]
pub struct Endpoint {
    pub settings: RedisSettings,
}

impl Endpoint {
    /// Returns the time that a connection may take to be made.
    pub fn timeout(&self) -> Duration {
        CONNECT.min(self.settings.timeout).max(Duration::from_millis(100))
    }

    /// Returns true if Sentinels know which Redis is the master.
    pub fn has_sentinels(&self) -> bool {
        self.settings.url.contains("-sentinel://")
    }

    /// Connects to a Redis, if it takes entries. One that may not be asked for its role is taken for a master.
    pub fn master(&self, url: &str) -> Result<RedisConnection, CallError> {
        let mut connection = self.connect(url)?;
        match connection.call::<Value>(&cmd("ROLE")) {
            Ok(Value::Array(parts)) if parts.first().and_then(super::entry::text) == Some(b"slave") => {
                let message = format!("{} is a replica", connection.address);
                Err(CallError::Refused { code: "READONLY".into(), message })
            }
            Ok(_) | Err(CallError::Refused { .. }) => Ok(connection),
            Err(fault) => Err(fault),
        }
    }

    /// Connects to a Redis.
    pub fn connect(&self, url: &str) -> Result<RedisConnection, CallError> {
        self.open(self.info(url)?, url, ANSWER)
    }

    fn open(&self, info: ConnectionInfo, url: &str, timeout: Duration) -> Result<RedisConnection, CallError> {
        let address = info.addr().to_string();
        let connection = Client::open(info)?.get_connection_with_timeout(self.timeout())?;
        RedisConnection::new(connection, url, address, timeout)
    }

    pub fn info(&self, url: &str) -> Result<ConnectionInfo, CallError> {
        let info = url.into_connection_info().map_err(|error| CallError::Invalid(error.to_string()))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(CallError::Invalid(
                "#insecure is not supported: name the authority's certificate instead".into(),
            ));
        }
        let info = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                Client::build_with_tls(info, self.certificates()?)?.get_connection_info().clone()
            }
            _ => info,
        };
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let redis = info.redis_settings().clone().set_lib_name("eventsource-hub", env!("CARGO_PKG_VERSION"));
        Ok(info.set_tcp_settings(tcp).set_redis_settings(redis))
    }

    /// Reads the certificates. The settings have a key with each certificate of a client.
    fn certificates(&self) -> Result<TlsCertificates, CallError> {
        let RedisSettings { ca, cert, key, .. } = &self.settings;
        let [root_cert, client_cert, client_key] = [read(ca)?, read(cert)?, read(key)?];
        let client_tls = client_cert.zip(client_key);
        let client_tls = client_tls.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok(TlsCertificates { client_tls, root_cert })
    }

    /// Asks a server one thing.
    pub fn query<T: FromRedisValue>(&self, info: ConnectionInfo, command: &Cmd) -> Result<T, CallError> {
        self.open(info, "", self.timeout())?.call(command)
    }
}

/// Reads a file, unless the path is empty.
fn read(path: &str) -> Result<Option<Vec<u8>>, CallError> {
    let path = Some(path).filter(|path| !path.is_empty());
    path.map(|path| fs::read(path).map_err(|error| CallError::Cut(format!("{path}: {error}")))).transpose()
}
