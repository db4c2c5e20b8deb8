//! The store of a hub on the command line: `memory`, `file:PATH?sync=event`, or the URL of Redis, with settings behind `?`.
//!
//! The rules are those of `EventSource::XS::Hub::Store` in Perl. No message shows any of a URL, because it may hold a password.

use eventsource_xs::wire::{FileSettings, FileSync, RedisSettings, StoreSettings};
use std::time::Duration;

const MAX_REPLICAS: u32 = 100;
const QUEUE: u32 = 10_000;
const MAX_QUEUE: u32 = 1_000_000;
const MAX_PREFIX: usize = 64;

/// Reads a store. The time is how long a publish waits for Redis. Fails with a message for the user.
pub fn parse(text: &str, timeout: Duration) -> Result<StoreSettings, String> {
    let (place, settings) = match text.rsplit_once('?') {
        Some((place, settings)) => (place, pairs(settings)?),
        None => (text, Vec::new()),
    };
    if place == "memory" {
        known(&settings, &[])?;
        return Ok(StoreSettings::Memory);
    }
    if let Some(path) = place.strip_prefix("file:") {
        return file(path, &settings).map(StoreSettings::File);
    }
    let (scheme, rest) = place.split_once("://").ok_or("a store is memory, file:PATH or the URL of Redis")?;
    check_url(scheme, rest)?;
    redis(place, &settings, timeout).map(|redis| StoreSettings::Redis(Box::new(redis)))
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Reads `name=value&name=value`.
fn pairs(text: &str) -> Result<Pairs<'_>, String> {
    let pairs = text.split('&').map(|pair| pair.split_once('='));
    pairs.collect::<Option<_>>().ok_or_else(|| "what is behind ? must be settings: name=value&name=value".to_owned())
}

fn known(settings: &Pairs<'_>, names: &[&str]) -> Result<(), String> {
    match settings.iter().find(|(name, _)| !names.contains(name)) {
        None => Ok(()),
        Some(_) if names.is_empty() => Err("memory has no settings".to_owned()),
        Some(_) => Err(format!("unknown setting of the store; known: {}", names.join(", "))),
    }
}

fn value<'a>(settings: &Pairs<'a>, name: &str) -> Option<&'a str> {
    settings.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value)
}

fn number(settings: &Pairs<'_>, name: &str, from: u32, to: u32) -> Result<Option<u32>, String> {
    let Some(text) = value(settings, name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (from..=to).contains(number));
    number.map(Some).ok_or_else(|| format!("{name} of the store must be a whole number from {from} to {to}"))
}

/// Makes a path absolute.
fn absolute(name: &str, path: &str) -> Result<Box<str>, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{name} of the store: {error}"))?;
    let absolute = absolute.to_str().ok_or_else(|| format!("{name} of the store must be a path in UTF-8"))?;
    Ok(absolute.into())
}

fn file(path: &str, settings: &Pairs<'_>) -> Result<FileSettings, String> {
    known(settings, &["sync"])?;
    let sync = match value(settings, "sync") {
        Some("never") => FileSync::Never,
        None | Some("second") => FileSync::Second,
        Some("event") => FileSync::Event,
        Some(_) => return Err("sync of the store must be never, second or event".to_owned()),
    };
    if path.ends_with('/') || std::path::Path::new(path).is_dir() {
        return Err("file: must be followed by the path of a file, not of a folder".to_owned());
    }
    Ok(FileSettings { path: absolute("file", path)?, sync })
}

fn redis(url: &str, settings: &Pairs<'_>, timeout: Duration) -> Result<RedisSettings, String> {
    known(settings, &["ca", "cert", "key", "prefix", "queue", "replicas", "sentinel_login", "when_down"])?;
    let queues = match value(settings, "when_down") {
        None | Some("refuse") => false,
        Some("queue") => true,
        Some(_) => return Err("when_down of the store must be refuse or queue".to_owned()),
    };
    let queue = number(settings, "queue", 1, MAX_QUEUE)?;
    if queue.is_some() && !queues {
        return Err("queue of the store is only for when_down=queue".to_owned());
    }
    let prefix = value(settings, "prefix").unwrap_or("es");
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.chars().all(is_allowed) {
        return Err("prefix of the store must be 1 to 64 letters, digits, _, -, . and :".to_owned());
    }
    let sentinel_login = value(settings, "sentinel_login").unwrap_or("");
    check_sentinel_login(url, sentinel_login)?;
    let path = |name| value(settings, name).map_or(Ok("".into()), |path| absolute(name, path));
    let (ca, cert, key) = (path("ca")?, path("cert")?, path("key")?);
    if !url.starts_with("rediss") && [&ca, &cert, &key].iter().any(|path| !path.is_empty()) {
        return Err(
            "ca, cert and key of the store are for TLS: begin the URL with rediss:// or rediss-sentinel://".into()
        );
    }
    if cert.is_empty() != key.is_empty() {
        return Err("cert and key of the store need each other".to_owned());
    }
    Ok(RedisSettings {
        url: url.into(),
        sentinel_login: sentinel_login.into(),
        replicas: number(settings, "replicas", 0, MAX_REPLICAS)?.unwrap_or(0),
        queue: if queues { queue.unwrap_or(QUEUE) } else { 0 },
        prefix: prefix.into(),
        ca,
        cert,
        key,
        timeout,
    })
}

/// Checks user and password of the Sentinels, of which no message shows any.
fn check_sentinel_login(url: &str, login: &str) -> Result<(), String> {
    if login.is_empty() {
        return Ok(());
    }
    if !url.contains("-sentinel://") {
        return Err("sentinel_login of the store is for Sentinels: begin the URL with redis-sentinel:// or \
            rediss-sentinel://"
            .to_owned());
    }
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains([':', '/', '#', '?', '@']);
    let parts = login.split_once(':').filter(|(user, password)| is_plain(user) && is_plain(password));
    if parts.is_none_or(|(_, password)| password.is_empty()) {
        return Err(
            "sentinel_login of the store must be USER:PASSWORD or :PASSWORD; encode other characters in both as in a \
            URL, such as %40 for @"
                .to_owned(),
        );
    }
    Ok(())
}

/// Checks the form of a URL of Redis.
fn check_url(scheme: &str, rest: &str) -> Result<(), String> {
    let is_sentinel = match scheme {
        "redis" | "rediss" => false,
        "redis-sentinel" | "rediss-sentinel" => true,
        _ => {
            return Err("the URL of a store begins with redis://, rediss://, redis-sentinel:// or rediss-sentinel://"
                .to_owned())
        }
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['#', '?']) {
        return Err("the URL of the store must not have blanks, # and ?; encode them in user and password".to_owned());
    }
    let (login, place) = rest.split_once('@').map_or(("", rest), |(login, place)| (login, place));
    if rest.contains('@') && !login.contains(':') {
        return Err("the URL of the store has a user without a password: write USER:PASSWORD@ or :PASSWORD@".to_owned());
    }
    if place.contains('@') || login.contains('/') || login.matches(':').count() > 1 {
        return Err(
            "the URL of the store has :, / or @ in user or password; encode them as %3A, %2F and %40".to_owned()
        );
    }
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let is_database = |text: &str| text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_right = if is_sentinel {
        let (master, database) = path.split_once('/').unwrap_or((path, "0"));
        !master.is_empty() && is_database(database) && hosts.split(',').all(|host| is_host(host, true))
    } else {
        is_database(path) && is_host(hosts, false)
    };
    match (is_right, is_sentinel) {
        (true, _) => Ok(()),
        (false, false) => Err("the URL of the store must have host and port: redis://127.0.0.1:6379/0".to_owned()),
        (false, true) => Err("the URL of the store must have hosts with ports and the name of the master: \
            redis-sentinel://sentinel1:26379,sentinel2:26379/mymaster/0"
            .to_owned()),
    }
}

/// Returns true for a host with a port, or without one if that may be left out.
fn is_host(text: &str, needs_port: bool) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_address = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let has_host = is_address || !host.is_empty() && host.chars().all(is_name);
    has_host && port.map_or(!needs_port, |port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StoreSettings, String> {
        parse(text, Duration::from_secs(5))
    }

    #[test]
    fn stores_are_read_with_their_settings() {
        assert_eq!(read("memory"), Ok(StoreSettings::Memory));
        let file = |path: &str, sync| Ok(StoreSettings::File(FileSettings { path: path.into(), sync }));
        assert_eq!(read("file:/a b/x?y.db?sync=event"), file("/a b/x?y.db", FileSync::Event));
        let here = std::env::current_dir().expect("a folder").join("x.db");
        assert_eq!(read("file:x.db"), file(here.to_str().expect("UTF-8"), FileSync::Second));
        let redis = |settings| Ok(StoreSettings::Redis(Box::new(settings)));
        let url = "redis://:p@[::1]:6379/0";
        assert_eq!(read(url), redis(RedisSettings { url: url.into(), ..RedisSettings::default() }));
        let url = "rediss-sentinel://u:p%40@a:1,b:2/m";
        let settings = "?replicas=1&when_down=queue&prefix=shop&ca=/ca&cert=/c&key=/k&sentinel_login=w:%26";
        let [prefix, ca, cert, key, sentinel_login] = ["shop", "/ca", "/c", "/k", "w:%26"].map(Into::into);
        let timeout = Duration::from_secs(5);
        let read = read(&format!("{url}{settings}"));
        assert_eq!(
            read,
            redis(RedisSettings {
                url: url.into(),
                sentinel_login,
                replicas: 1,
                queue: QUEUE,
                prefix,
                ca,
                cert,
                key,
                timeout
            })
        );
    }

    #[test]
    fn a_wrong_store_is_refused_without_its_password() {
        for (text, message) in [
            ("disk", "a store is memory, file:PATH or the URL of Redis"),
            ("memory?sync=event", "memory has no settings"),
            ("file:/", "not of a folder"),
            ("file:x/", "not of a folder"),
            ("file:x?sync=always", "sync of the store must be never, second or event"),
            ("file:x?replicas=1", "known: sync"),
            ("redis://h?when=geheim", "known: ca, cert"),
            ("redis://:geheim@h?x", "name=value&name=value"),
            ("http://:geheim@h", "begins with redis://"),
            ("redis://:gehe#im@h", "must not have blanks, # and ?"),
            ("redis://:gehe im@h", "must not have blanks, # and ?"),
            ("redis://:gehe@im@h", "has :, / or @ in user or password"),
            ("redis://:gehe/im@h", "has :, / or @ in user or password"),
            ("redis://u:gehe:im@h", "has :, / or @ in user or password"),
            ("redis://geheim@h", "has a user without a password"),
            ("redis://", "must have host and port"),
            ("redis://h:70000", "must have host and port"),
            ("redis://h:0", "must have host and port"),
            ("redis://a:1,b:2", "must have host and port"),
            ("redis://h/shop", "must have host and port"),
            ("redis-sentinel://a:1,b:2", "the name of the master"),
            ("redis-sentinel://a,b/m", "hosts with ports"),
            ("redis://h?replicas=101", "a whole number from 0 to 100"),
            ("redis://h?queue=5", "only for when_down=queue"),
            ("redis://h?when_down=queue&queue=0", "a whole number from 1 to 1000000"),
            ("redis://h?when_down=wait", "must be refuse or queue"),
            ("redis://h?prefix={a}", "prefix of the store must be"),
            ("redis://h?ca=/x", "are for TLS"),
            ("rediss://h?cert=/x", "need each other"),
            ("redis://h?sentinel_login=:geheim", "is for Sentinels"),
            ("redis-sentinel://h:1/m?sentinel_login=geheim", "must be USER:PASSWORD"),
            ("redis-sentinel://h:1/m?sentinel_login=u:", "must be USER:PASSWORD"),
            ("redis-sentinel://h:1/m?sentinel_login=u:gehe@im", "must be USER:PASSWORD"),
            ("redis-sentinel://h:1/m?sentinel_login=u:gehe:im", "must be USER:PASSWORD"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(message) && !refused.contains("gehe"), "{text}: {refused}");
        }
    }
}
