use super::{FileSettings, FileSync, RedisSettings, StoreSettings};
use std::time::Duration;

fn parse(text: &str) -> Result<StoreSettings, String> {
    StoreSettings::parse(text, Duration::from_secs(5))
}

#[test]
fn stores_are_read_with_their_settings() {
    assert_eq!(parse("memory"), Ok(StoreSettings::Memory));
    let file = |path: &str, sync| Ok(StoreSettings::File(FileSettings { path: path.into(), sync }));
    assert_eq!(parse("file:/a b//./x?y.db?sync=event"), file("/a b/x?y.db", FileSync::Event));
    let here = std::env::current_dir().expect("a folder").join("x.db");
    assert_eq!(parse("file:x.db"), file(here.to_str().expect("UTF-8"), FileSync::Second));
    let timeout = Duration::from_secs(4); // less than the worker waits
    let redis = |settings| Ok(StoreSettings::Redis(Box::new(RedisSettings { timeout, ..settings })));
    for url in ["redis://:p@[::1]:6379/0", "redis://h", "redis://_h.x-y/", "rediss://u:@1.2.3.4:65535"] {
        assert_eq!(
            parse(url),
            redis(RedisSettings { url: url.into(), prefix: "es".into(), ..RedisSettings::default() })
        );
    }
    let url = "rediss-sentinel://u:p%40@a:1,[::1]:2/m";
    let settings = "?replicas=1&prefix=shop&ca=/ca&cert=/c&key=/k&sentinel_login=w:%26";
    let [prefix, ca, cert, key, sentinel_login] = ["shop", "/ca", "/c", "/k", "w:%26"].map(Into::into);
    let all = RedisSettings { url: url.into(), sentinel_login, replicas: 1, prefix, ca, cert, key, timeout };
    assert_eq!(parse(&format!("{url}{settings}")), redis(all));
}

/// What an application may give by name as well is in t/settings/mistakes.t.
#[test]
fn a_wrong_text_is_refused_without_its_password() {
    for (text, message) in [
        ("disk", "a store is memory, file:PATH or the URL of Redis"),
        ("memory?sync=event", "memory has no settings"),
        ("file:x?replicas=1", "replicas is not for a store in a file, but for one in Redis"),
        ("redis://h?geheim=1", "unknown setting of store; known: redis, ca, cert"),
        ("redis://:geheim@h?x", "name=value&name=value"),
        ("http://:geheim@h", "redis must begin with redis://"),
        ("redis://:geheim@h?redis=x", "redis must be a URL"),
    ] {
        let refused = parse(text).expect_err(text);
        assert!(refused.contains(message) && !refused.contains("gehe"), "{text}: {refused}");
    }
}
