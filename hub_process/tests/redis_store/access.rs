//! Users, passwords, databases, prefixes, versions, TLS.

use crate::node::{settings, End, Node};
use crate::server::{has, has_tls, new_folder, text, Port, Redis};
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the message with which a store says that it cannot begin.
fn refusal(settings: &RedisSettings) -> (String, ErrorCode, bool) {
    let mut node = Node::start(settings);
    node.until("a refusal", |node| !node.refusals.is_empty());
    let (failure, retries) = node.refusals[0].clone();
    assert!(!failure.message.contains("secret"), "{failure}");
    assert!(!format!("{:?}", node.store.status()).contains("secret"));
    (failure.message.into(), failure.code, retries)
}

#[test]
fn a_user_a_password_a_database_and_a_prefix_are_used() {
    let rules = "--user hub on >s%cret@ ~mine:* +auth +xadd +xread +xrange +xinfo +xtrim +hmget +eval +hget +hset +del \
                 +unlink +pexpire +hscan +hdel +zscore +zadd +zremrangebyscore +zremrangebyrank +time +select +memory|usage +info \
                 +role";
    let mut redis = redis!(rules.split(' ').collect::<Vec<_>>());
    let given = RedisSettings {
        prefix: "mine".into(),
        ..settings(&format!("redis://hub:s%25cret%40@127.0.0.1:{}/3", redis.port))
    };
    let mut a = Node::ready(&given);
    assert!(a.publish("one").is_stored());
    assert!(a.retain_once("k", "two", "o").is_stored() && a.forget("k").is_stored());
    assert!(redis.keys("*").is_empty());
    redis.login = Some(("hub".into(), "s%cret@".into()));
    assert!(!given.shown_url().contains("cret"));
    assert_eq!(&*a.store.status().last_error, "");
}

#[test]
fn an_address_may_be_one_of_ipv6() {
    needs!(has("redis-server"));
    if let Err(error) = Port::reserve_on(Ipv6Addr::LOCALHOST.into()) {
        eprintln!("skipped: no IPv6 here: {error}");
        return;
    }
    let redis = Redis::start(&["--bind", "127.0.0.1", "::1"]);
    let given = settings(&format!("redis://[::1]:{}/2", redis.port));
    let mut a = Node::ready(&given);
    assert!(a.publish("one").is_stored());
    assert!(redis.call(&["CLIENT", "LIST"]).contains(" addr=[::1]:"));
    assert!(given.shown_url().contains("[::1]"), "{}", given.shown_url());
}

#[test]
fn a_wrong_password_and_missing_permissions_are_reported() {
    let redis = redis!(["--user", "hub", "on", ">secret", "~*", "+@all", "-eval"]);
    let address = format!("127.0.0.1:{}", redis.port);
    for (url, expected) in [
        (format!("redis://hub:secret2@{address}"), "the user or the password is wrong"),
        (format!("redis://other:secret@{address}"), "the user or the password is wrong"),
        (format!("redis://hub:secret@{address}"), "NOPERM"),
    ] {
        let (message, code, retries) = refusal(&settings(&url));
        assert!(
            message.starts_with(&format!("Redis at {address} refuses: ")) && message.contains(expected),
            "{message}"
        );
        assert_eq!((code, retries), (ErrorCode::Unavailable, true));
    }
    redis.call(&["CONFIG", "SET", "requirepass", "secret"]);
    let (message, _, retries) = refusal(&settings(&redis.url()));
    assert!(message.contains("NOAUTH") && retries, "{message}");
}

#[test]
fn a_permission_that_is_granted_later_is_used() {
    let redis = redis!(["--user", "hub", "on", ">secret", "~*", "+@all", "-xadd"]);
    let mut a = Node::start(&settings(&format!("redis://hub:secret@127.0.0.1:{}", redis.port)));
    a.until("a refusal", |node| !node.refusals.is_empty());
    redis.call(&["ACL", "SETUSER", "hub", "+xadd"]);
    a.until("ready", Node::is_ready);
    assert!(a.publish("one").is_stored());
    redis.call(&["ACL", "SETUSER", "hub", "-xadd"]);
    let End::Failed(failure) = a.publish("two") else { panic!("stored") };
    assert!(failure.message.contains("NOPERM"), "{failure}");
}

#[test]
fn urls_that_can_never_work_are_reported_once() {
    for url in ["http://127.0.0.1/", "redis://", "rediss://127.0.0.1/#insecure", "redis://h/x"] {
        let (message, code, retries) = refusal(&settings(url));
        assert_eq!((code, retries), (ErrorCode::Invalid, false), "{url}: {message}");
    }
}

#[test]
fn another_layout_is_not_touched() {
    let redis = redis!();
    redis.call(&["HSET", "es:{shop}", "layout", "3", "epoch", "x"]);
    let (message, _, retries) = refusal(&settings(&redis.url()));
    assert!(message.contains("layout 3") && retries, "{message}");
    assert_eq!(redis.call(&["HGET", "es:{shop}", "epoch"]), "x");
}

/// Answers like a Redis of a version that is too old.
#[test]
fn an_old_redis_is_refused() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = socket.read(&mut bytes) {
                    let commands =
                        bytes[..count].windows(2).filter(|pair| pair[0] == b'*' && pair[1].is_ascii_digit()).count();
                    for _ in 0..commands {
                        let _ = socket.write_all(b"$22\r\nredis_version:6.0.16\r\n\r\n");
                    }
                }
            });
        }
    });
    let (message, _, _) = refusal(&settings(&format!("redis://127.0.0.1:{port}")));
    assert!(message.contains("Redis 6.0.16") && message.contains("6.2"), "{message}");
}

fn openssl(folder: &Path, words: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "{words}");
}

/// Makes an authority, and certificates for a server and a client.
pub fn make_certificates(folder: &Path) {
    let new = |name: &str, more: &str| {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(folder, &format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}{more}"));
    };
    new("ca", ".crt -x509 -days 2");
    fs::write(folder.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    for name in ["server", "client"] {
        new(name, ".csr");
        let signed = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext";
        openssl(folder, &format!("x509 -req -in {name}.csr {signed} -out {name}.crt"));
    }
}

/// Starts a Redis that takes connections with TLS only, with a certificate of the folder.
fn start_with_tls(port: Port, folder: &Path, more: &[&str]) -> Redis {
    let number = port.number.to_string();
    let [cert, key, ca] = ["server.crt", "server.key", "ca.crt"].map(|name| text(&folder.join(name)));
    let mut words = vec!["--port", "0", "--tls-port", &number];
    words.extend(["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca]);
    words.extend(more);
    Redis::start_at(port, &words)
}

#[test]
fn tls_needs_a_certificate_that_the_authority_has_signed() {
    needs!(has_tls());
    let folder = new_folder();
    make_certificates(&folder);
    let file = |name: &str| text(&folder.join(name));
    for must_show in ["no", "yes"] {
        let port = Port::reserve();
        let plain = settings(&format!("rediss://127.0.0.1:{}", port.number));
        let with_ca = RedisSettings { ca: file("ca.crt").into(), ..plain.clone() };
        let with_client =
            RedisSettings { cert: file("client.crt").into(), key: file("client.key").into(), ..with_ca.clone() };
        let _redis = start_with_tls(port, &folder, &["--tls-auth-clients", must_show]);
        let (message, _, _) = refusal(&plain);
        assert!(message.contains("certificate") || message.contains("cannot be reached"), "{message}");
        if must_show == "no" {
            let mut a = Node::ready(&with_ca);
            assert!(a.publish("one").is_stored());
        } else {
            let (message, _, _) = refusal(&with_ca);
            assert!(message.contains("cannot be reached"), "{message}");
        }
        let mut a = Node::ready(&with_client);
        assert!(a.publish("two").is_stored());
    }
    let plain = settings("rediss://127.0.0.1:1");
    let missing = RedisSettings { ca: "/nowhere.crt".into(), ..plain };
    assert!(refusal(&missing).0.contains("/nowhere.crt"));
    fs::remove_dir_all(folder).unwrap();
}
