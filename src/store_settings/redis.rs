//! The settings of a store in Redis. Messages about the URL and the login show none of it: they may contain a password.

use super::given::Given;
use super::{StoreKind, StoreSettings};
use std::fmt;
use std::time::Duration;

pub(super) const KIND: StoreKind = StoreKind {
    names: "redis ca cert key prefix replicas sentinel_login",
    words: "Redis",
    place_in: |text| text.contains("://").then_some(text),
    read: |given| read(given).map(|settings| StoreSettings::Redis(Box::new(settings))),
};

const MAX_REPLICAS: u32 = 100;
const MAX_PREFIX_BYTES: usize = 64;
const PORT: u16 = 6379;
const EXAMPLE: &str = "redis://127.0.0.1:6379/0";
const SENTINEL_EXAMPLE: &str = "redis-sentinel://sentinel1:26379,sentinel2:26379/mymaster/0";
/// The settings that are paths for TLS, and what they are.
const TLS_FILES: [(&str, &str); 3] =
    [("ca", "the certificates of authorities"), ("cert", "a certificate"), ("key", "the key of a certificate")];

/// The settings of a store in Redis.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` (TLS), `redis-sentinel://` or `rediss-sentinel://`, with user, password and number of the
    /// database.
    pub url: Box<str>,
    /// `USER:PASSWORD` or `:PASSWORD` for the Sentinels, encoded as in a URL. If empty, they need none, or that of Redis.
    pub sentinel_login: Box<str>,
    /// The number of replicas that have an event before it counts as published.
    pub replicas: u32,
    /// The first part of all keys.
    pub prefix: Box<str>,
    /// The path of the certificates of the authorities that Redis' certificate is checked with; those of the system, if empty.
    pub ca: Box<str>,
    /// The path of the client's certificate; none, if empty.
    pub cert: Box<str>,
    /// The path of the client's key; none, if empty.
    pub key: Box<str>,
    /// The time for which a publish waits for Redis.
    pub timeout: Duration,
}

/// Shows everything but users and passwords.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, prefix, .. } = self;
        write!(out, "RedisSettings({}, prefix {prefix}, replicas {replicas})", self.shown_url())
    }
}

impl RedisSettings {
    /// Returns the URL without user and password.
    pub fn shown_url(&self) -> String {
        match (self.url.find("://"), self.url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &self.url[..scheme + 3], &self.url[at + 1..]),
            _ => self.url.to_string(),
        }
    }

    /// Returns true if connections to Redis and to Sentinels have TLS.
    pub fn has_tls(&self) -> bool {
        self.url.starts_with("rediss")
    }

    /// Returns the addresses, host and port, of Redis or of its Sentinels.
    pub fn addresses(&self) -> Vec<String> {
        let url = self.shown_url();
        let place = url.split_once("://").map_or("", |(_, place)| place);
        let hosts = place.split('/').next().unwrap_or_default();
        let with_port = |host: &str| match host_and_port(host) {
            (_, Some(_)) => host.to_owned(),
            (host, None) => format!("{host}:{PORT}"), // Sentinels have a port always
        };
        hosts.split(',').map(with_port).collect()
    }
}

coded!(RedisSettings { url, sentinel_login, replicas, prefix, ca, cert, key, timeout });

fn read(given: &Given<'_>) -> Result<RedisSettings, String> {
    let url = given.text("redis").unwrap_or_default();
    check_url(url)?;
    let prefix = given.text("prefix").unwrap_or("es");
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    if prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(is_allowed) {
        return Err("prefix must be 1 to 64 letters, digits, _, -, . and :, without spaces and braces".into());
    }
    let replicas = given.text("replicas").map_or(Some(0), number).filter(|number| *number <= MAX_REPLICAS);
    let replicas =
        replicas.ok_or_else(|| format!("replicas of store must be a whole number from 0 to {MAX_REPLICAS}"))?;
    let sentinel_login = given.text("sentinel_login");
    sentinel_login.map_or(Ok(()), |login| check_sentinel_login(url, login))?;
    for (name, what) in TLS_FILES {
        if given.text(name).is_some() && !url.starts_with("rediss") {
            return Err(format!("{name}, {what}, is for TLS: begin the URL with rediss:// or rediss-sentinel://"));
        }
    }
    let [ca, cert, key] = [given.path("ca")?, given.path("cert")?, given.path("key")?];
    match (&cert, &key) {
        (Some(_), None) => return Err("cert needs its key, too: give the path as key".into()),
        (None, Some(_)) => return Err("key needs its cert, too: give the path as cert".into()),
        _ => {}
    }
    Ok(RedisSettings {
        url: url.into(),
        sentinel_login: sentinel_login.unwrap_or_default().into(),
        replicas,
        prefix: prefix.into(),
        ca: ca.unwrap_or_default(),
        cert: cert.unwrap_or_default(),
        key: key.unwrap_or_default(),
        timeout: given.timeout,
    })
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_sentinel_login(url: &str, login: &str) -> Result<(), String> {
    if !url.contains("-sentinel://") {
        return Err(
            "sentinel_login is for Sentinels: begin the URL with redis-sentinel:// or rediss-sentinel://".into()
        );
    }
    let is_encoded = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_graphic())
            && !text.contains([':', '/', '?', '#', '@'])
            && is_escaped(text)
    };
    match login.split_once(':') {
        Some((user, password)) if is_encoded(user) && is_encoded(password) && !password.is_empty() => Ok(()),
        _ => Err(
            "sentinel_login must be USER:PASSWORD, or :PASSWORD for the default user; in both encode all but letters, \
            digits and punctuation of ASCII, and :/?#@%, as in a URL, such as %40"
                .into(),
        ),
    }
}

/// Returns true if each % has two hexadecimal digits behind it.
fn is_escaped(text: &str) -> bool {
    let is_right = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(is_right)
}

fn check_url(url: &str) -> Result<(), String> {
    let is_scheme =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme))
        .ok_or_else(|| format!("redis must be a URL, such as {EXAMPLE}"))?;
    let is_sentinel = match scheme {
        "redis" | "rediss" => false,
        "redis-sentinel" | "rediss-sentinel" => true,
        _ => return Err("redis must begin with redis://, rediss://, redis-sentinel:// or rediss-sentinel://".into()),
    };
    let (login, place) = rest.split_once('@').unwrap_or(("", rest));
    let problem = if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        "redis must be a URL without spaces, control characters and characters that are not ASCII; encode them in user and \
            password, a space as %20"
    } else if rest.contains(['?', '#']) {
        "redis must not have ? or #; encode them in user and password as %3F and %23; settings are beside redis"
    } else if place.contains('@') {
        "redis has more than one @; encode it in user and password as %40"
    } else if !is_escaped(rest) {
        "redis has a % without two hexadecimal digits; encode it in user and password as %25"
    } else if rest.contains('@') && !login.contains(':') {
        "redis has a user without a password: write USER:PASSWORD@, or :PASSWORD@ for the default user"
    } else {
        ""
    };
    if !problem.is_empty() {
        return Err(problem.into());
    }
    let is_login = !login.contains('/') && login.matches(':').count() <= 1;
    let (is_right, form) = if is_sentinel {
        (is_sentinel_place(place), format!("hosts with ports and the name of the master: {SENTINEL_EXAMPLE}"))
    } else {
        (is_place(place), format!("host and port: {EXAMPLE}"))
    };
    if !is_login || !is_right {
        return Err(format!("redis must have {form}; encode / and : in user and password as %2F and %3A"));
    }
    let hosts = place.split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.parse::<u16>().map_or(false, |port| port > 0);
    match hosts.split(',').filter_map(|host| host_and_port(host).1).all(is_port) {
        true => Ok(()),
        false => Err("redis has a port above 65535 or 0".into()),
    }
}

/// Returns true for a host, with or without the number of a database.
fn is_place(place: &str) -> bool {
    let (host, database) = place.split_once('/').unwrap_or((place, ""));
    is_host(host) && (database.is_empty() || is_number(database))
}

/// Returns true for hosts with ports and the name of a master, with or without the number of a database.
fn is_sentinel_place(place: &str) -> bool {
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    is_name(master)
        && is_number(database)
        && hosts.split(',').all(|host| is_host(host) && host_and_port(host).1.is_some())
}

fn host_and_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = host_and_port(text);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_right = match address {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => is_name(host) && !host.starts_with(['.', '-']),
    };
    is_right && port.map_or(true, is_number)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_number(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
