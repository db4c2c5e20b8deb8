//! Replicas and Sentinel.

use crate::access::make_certificates;
use crate::node::{retained, settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{eventually, has, has_tls, new_folder, text, Port, Redis};
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use std::time::Duration;

pub fn replica_of(master: &Redis, more: &[&str]) -> Redis {
    let port = master.port.to_string();
    let mut words = vec!["--replicaof", "127.0.0.1", &port, "--repl-ping-replica-period", "1"];
    words.extend(more);
    let replica = Redis::start(&words);
    eventually("the replica is connected", || replica.call(&["INFO", "replication"]).contains("master_link_status:up"));
    replica
}

/// Waits until the replica has everything that the master has.
pub fn wait_until_equal(master: &Redis, replica: &Redis) {
    let offset = |redis: &Redis| {
        let info = redis.call(&["INFO", "replication"]);
        info.lines().find(|line| line.starts_with("master_repl_offset:")).map(str::to_owned)
    };
    eventually("it is replicated", || offset(master) == offset(replica));
}

/// Starts a Sentinel for a master at that port.
fn sentinel_of(port: u16, more: &str) -> Redis {
    Redis::start_sentinel(&format!(
        "port PORT\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {port} 1\nsentinel down-after-milliseconds shop 500\n\
         sentinel failover-timeout shop 2000\nsentinel parallel-syncs shop 1\n{more}"
    ))
}

/// Publishes an event, and has the replica leave its master when it has so many entries. Returns the stream's name.
fn publish_and_part(node: &mut Node, replica: &Redis, entries: u32) -> String {
    assert!(node.publish("replicated").is_stored());
    let mut stream = String::new();
    eventually("it is replicated", || {
        stream = replica.keys("es:{shop}:*").pop().unwrap_or_default();
        !stream.is_empty() && replica.call(&["XLEN", &stream]) == entries.to_string()
    });
    replica.call(&["REPLICAOF", "NO", "ONE"]);
    stream
}

fn sentinel(master: &Redis) -> Redis {
    let sentinel = sentinel_of(master.port, "");
    wait_for_replica(&sentinel);
    sentinel
}

fn wait_for_replica(sentinel: &Redis) {
    eventually("Sentinel knows the replica", || {
        sentinel.call(&["SENTINEL", "REPLICAS", "shop"]).contains("master-link-status\nok")
    });
}

#[test]
fn sentinels_have_users_and_passwords_of_their_own() {
    let master = redis!(["--user", "hub", "on", ">s%cret@", "~*", "&*", "+@all"]);
    let limited = "user default off\nuser watcher on >w:tch +auth +sentinel|get-master-addr-by-name\n";
    let of_no_use = "user default on nopass -@all\nuser hub on >s%cret@ +@all\n";
    for (access, own, is_right) in [
        ("", "", true),
        ("requirepass w:tch\n", ":w%3Atch", true),
        ("requirepass w:tch\n", "", false),
        ("requirepass w:tch\n", ":secret", false),
        (limited, "watcher:w%3Atch", true),
        (limited, "watcher:secret", false),
        // That of Redis is tried where a Sentinel refuses to answer without one.
        (of_no_use, "", true),
    ] {
        let sentinel = sentinel_of(master.port, access);
        let url = format!("redis-sentinel://hub:s%25cret%40@127.0.0.1:{}/shop", sentinel.port);
        let settings = RedisSettings { sentinel_login: own.into(), ..settings(&url) };
        let shown = format!("{settings:?}");
        assert!(!shown.contains("tch") && !shown.contains("secret"), "{shown}");
        let mut a = Node::start(&settings);
        if is_right {
            a.until("ready", Node::is_ready);
            assert!(a.publish("one").is_stored());
            continue;
        }
        a.until("a refusal", |node| !node.refusals.is_empty());
        let (failure, retries) = &a.refusals[0];
        let expected = format!("Sentinel 127.0.0.1:{} refuses: ", sentinel.port);
        assert!(*retries && failure.message.contains(&expected), "{failure}");
        assert!(!failure.message.contains("secret") && !failure.message.contains("tch"), "{failure}");
    }
}

/// Starts a Redis with TLS. Its plain port is for the commands of the test.
fn start_with_tls(files: &[String; 3], master: Option<u16>) -> (Redis, Port) {
    let port = Port::reserve();
    let (number, master) = (port.number.to_string(), master.map(|port| port.to_string()));
    let [cert, key, ca] = files;
    let mut words = vec!["--tls-port", &number, "--tls-cert-file", cert, "--tls-key-file", key];
    words.extend(["--tls-ca-cert-file", ca, "--tls-replication", "yes", "--tls-auth-clients", "no"]);
    if let Some(master) = &master {
        words.extend(["--replicaof", "127.0.0.1", master]);
    }
    (Redis::start(&words), port)
}

#[test]
fn sentinels_and_servers_with_tls_fail_over() {
    needs!(has_tls());
    let folder = new_folder();
    make_certificates(&folder);
    let files = ["server.crt", "server.key", "ca.crt"].map(|name| text(&folder.join(name)));
    let (mut master, master_port) = start_with_tls(&files, None);
    let (replica, _replica_port) = start_with_tls(&files, Some(master_port.number));
    eventually("the replica is connected", || replica.call(&["INFO", "replication"]).contains("master_link_status:up"));
    let [cert, key, ca] = &files;
    let port = Port::reserve();
    let mut sentinel = sentinel_of(
        master_port.number,
        &format!(
            "tls-port {}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-ca-cert-file {ca}\ntls-auth-clients no\n\
             tls-replication yes\nrequirepass watch\n",
            port.number
        ),
    );
    sentinel.login = Some(("default".into(), "watch".into()));
    wait_for_replica(&sentinel);
    let url = format!("rediss-sentinel://127.0.0.1:{}/shop", port.number);
    let with_login = RedisSettings { sentinel_login: ":watch".into(), ..settings(&url) };
    let mut stranger = Node::start(&with_login);
    stranger.until("a refusal", |node| !node.refusals.is_empty());
    assert!(stranger.refusals[0].0.message.contains("ertificate"), "{}", stranger.refusals[0].0);
    let mut a = Node::ready(&RedisSettings { ca: ca.as_str().into(), ..with_login });
    assert!(a.publish("before").is_stored());
    eventually("it is replicated", || {
        let stream = replica.keys("es:{shop}:*").pop();
        stream.is_some_and(|stream| replica.call(&["XLEN", &stream]) == "2")
    });
    master.kill();
    assert!(a.publish("after").is_stored());
    assert_eq!((a.logs.len(), a.texts()), (1, vec!["before".into(), "after".into()]));
    assert!(replica.call(&["INFO", "replication"]).contains("role:master"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_event_counts_as_published_when_replicas_have_it() {
    let master = redis!();
    let mut replica = replica_of(&master, &[]);
    let with_one = RedisSettings { replicas: 1, timeout: Duration::from_secs(4), ..settings(&master.url()) };
    let mut a = Node::ready(&with_one);
    for number in 0..20 {
        assert!(a.publish(&number.to_string()).is_stored());
    }
    replica.kill();
    let End::Failed(failure) = a.publish("alone") else { panic!("stored") };
    assert_eq!(failure.code, ErrorCode::Unknown);
    a.until_last("alone");
    assert_eq!(a.log().entries.last().unwrap().ticket, None);
    let status = a.store.status();
    assert!(!status.is_up && status.last_error.contains("0 replicas have it, and 1 should"), "{status:?}");
    replica.run();
    a.until("up, though nobody publishes", |node| node.store.status().is_up);
    assert!(a.publish("together").is_stored());
    assert_eq!(a.logs.len(), 1);
}

#[test]
fn sentinels_that_are_silent_delay_nothing_while_the_master_answers() {
    let master = redis!();
    let sentinel = sentinel_of(master.port, "");
    // They accept connections and never answer.
    let silent = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [one, two] = silent.each_ref().map(|silent| silent.local_addr().expect("an address"));
    let url = format!("redis-sentinel://127.0.0.1:{},{one},{two}/shop", sentinel.port);
    let mut a = Node::ready(&RedisSettings { timeout: Duration::from_secs(1), ..settings(&url) });
    a.until("up", |node| node.store.status().is_up);
    sentinel.stop();
    // For longer than Sentinels are not asked.
    for number in 0..50 {
        assert!(a.publish(&number.to_string()).is_stored(), "{number}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(a.store.status().is_up);
}

/// Lets a Sentinel name another master, as one that was restarted with another configuration.
fn watch(sentinel: &Redis, port: u16) {
    let _ = sentinel.try_call(&["SENTINEL", "REMOVE", "shop"]);
    assert_eq!(sentinel.call(&["SENTINEL", "MONITOR", "shop", "127.0.0.1", &port.to_string(), "2"]), "OK");
}

/// Publishes for longer than Sentinels are not asked, and returns how often the store has connected anew.
fn reconnects_while_publishing(node: &mut Node) -> u64 {
    node.until("up", |node| node.store.status().is_up);
    let before = node.store.status().reconnects;
    for number in 0..30 {
        assert!(node.publish(&number.to_string()).is_stored(), "{number}");
        std::thread::sleep(Duration::from_millis(100));
    }
    node.store.status().reconnects - before
}

#[test]
fn a_sentinel_that_names_a_wrong_master_neither_keeps_a_hub_down_nor_ends_its_connection() {
    let master = redis!();
    let other = Redis::start(&[]);
    let nobody = Port::reserve();
    let sentinels = [nobody.number, master.port, master.port].map(|port| sentinel_of(port, ""));
    let ports = sentinels.each_ref().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
    let settings = settings(&format!("redis-sentinel://{}/shop", ports.join(",")));
    let mut a = Node::ready(&settings);
    assert_eq!(reconnects_while_publishing(&mut a), 0, "the first Sentinel names a dead master");
    watch(&sentinels[0], other.port);
    assert_eq!(reconnects_while_publishing(&mut a), 0, "the first Sentinel names another master");
    let mut b = Node::ready(&settings);
    assert_eq!(b.log().began.history.epoch, a.log().began.history.epoch);
    drop(b);
    watch(&sentinels[1], nobody.number);
    assert_eq!(reconnects_while_publishing(&mut a), 0, "no two Sentinels agree");
    b = Node::ready(&settings);
    assert_eq!(reconnects_while_publishing(&mut b), 0, "no two Sentinels agree, at the beginning");
    watch(&sentinels[1], other.port);
    a.until("the master of most Sentinels", |node| node.logs.len() == 2 && node.is_ready());
    assert_eq!(reconnects_while_publishing(&mut a), 0, "most Sentinels name this master");
    assert!(!other.keys("es:{shop}:*").is_empty());
}

#[test]
fn a_hub_does_not_begin_with_a_replica() {
    let master = redis!();
    let replica = replica_of(&master, &[]);
    let mut a = Node::start(&settings(&replica.url()));
    a.until("a refusal", |node| !node.refusals.is_empty());
    assert!(a.refusals[0].0.message.contains("is a replica"), "{}", a.refusals[0].0);
    replica.call(&["REPLICAOF", "NO", "ONE"]);
    a.until("ready", Node::is_ready);
}

/// Publishes while Sentinel makes the replica the master. Returns how many beginnings the stores have seen.
fn fail_over(replicas: u32) -> usize {
    let mut master = Redis::start(&[]);
    let mut replica = replica_of(&master, &[]);
    let sentinel = sentinel(&master);
    let url = format!("redis-sentinel://127.0.0.1:1,127.0.0.1:{}/shop/0", sentinel.port);
    // With replicas, drafts wait that long after the failover.
    let settings = RedisSettings { replicas, timeout: Duration::from_secs(10), ..settings(&url) };
    let mut a = Node::ready(&settings);
    let mut b = Node::ready(&settings);
    for number in 0..50 {
        assert!(a.publish(&format!("before {number}")).is_stored());
    }
    master.kill();
    for number in 0..50 {
        a.append_draft(retained(Retain::Newest, &(number % 20).to_string(), &number.to_string()));
        a.append(&format!("after {number}"));
    }
    let all = a.next_ticket - 1;
    a.until("all ends", |node| node.ends.len() as u64 == all);
    a.until("up, if no replica is missing", |node| node.store.status().is_up == (replicas == 0));
    a.until("the last entry", |node| node.is_ready() && node.texts().last().is_some_and(|text| text == "after 49"));
    let expected = a.texts();
    assert!((0..50).all(|number| expected.contains(&format!("after {number}"))), "{expected:?}");
    b.until("all entries", |node| node.is_ready() && node.texts().last() == expected.last());
    assert_eq!(a.log().began.history.epoch, b.log().began.history.epoch);
    // The only replica is the master now: nobody can confirm an event.
    let is_unknown = |end: &End| matches!(end, End::Failed(failure) if failure.code == ErrorCode::Unknown);
    assert!(a.ends.values().all(|end| end.is_stored() || replicas > 0 && is_unknown(end)), "{:?}", a.ends);
    assert_eq!(a.state().len(), 20);
    for node in [&b, &Node::ready(&settings)] {
        assert_eq!(node.state(), a.state());
    }
    if a.logs.len() == 1 {
        assert_eq!(a.texts().len() as u64, all);
        assert_eq!(a.texts(), b.texts());
    }
    replica.kill();
    a.logs.len()
}

#[test]
fn a_failover_with_replicas_loses_nothing() {
    needs!(has("redis-server"));
    assert_eq!(fail_over(1), 1);
}

#[test]
fn a_failover_loses_nothing_or_begins_another_epoch() {
    needs!(has("redis-server"));
    assert!((1..=2).contains(&fail_over(0)));
}

#[test]
fn a_failover_to_a_replica_that_lacks_entries_begins_another_epoch() {
    needs!(has("redis-server"));
    // Without Sentinel: another Redis takes the address over.
    let mut master = Redis::start(&[]);
    let mut replica = replica_of(&master, &[]);
    let proxy = Proxy::new(master.port);
    let [mut a, mut b] = Node::at([proxy.url(), proxy.url()]);
    assert!(a.retain("x", "1").is_stored() && a.retain("y", "1").is_stored());
    publish_and_part(&mut a, &replica, 4);
    assert!(a.retain("x", "not replicated").is_stored() && a.forget("y").is_stored());
    b.until("all", |node| node.log().entries.len() == 5);
    proxy.lead_to(replica.port);
    proxy.cut();
    master.kill();
    for node in [&mut a, &mut b] {
        node.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
        assert_ne!(node.logs[0].began.history.epoch, node.logs[1].began.history.epoch);
    }
    assert!(a.publish("after").is_stored());
    b.until("after", |node| node.texts() == ["after"]);
    assert_eq!(a.log().began.history.epoch, b.log().began.history.epoch);
    // The state is that of the replica: it has lost what is lost.
    assert_eq!(a.state(), b.state());
    assert_eq!(a.state().into_values().map(|(_, text)| text).collect::<Vec<_>>(), ["1", "1"]);
    replica.kill();
}

#[test]
fn an_entry_that_nobody_has_read_before_a_failover_is_sent_again() {
    let mut master = redis!();
    let mut replica = replica_of(&master, &[]);
    let proxy = Proxy::new(master.port);
    let mut a = Node::ready(&settings(&proxy.url()));
    let stream = publish_and_part(&mut a, &replica, 2);
    // The master stores it, and its answers are lost.
    a.until("up", |node| node.store.status().is_up);
    proxy.swallow(false, true);
    let ticket = a.append("not replicated");
    eventually("the master has it", || master.call(&["XLEN", &stream]) == "3");
    proxy.lead_to(replica.port);
    proxy.cut();
    proxy.heal();
    master.kill();
    a.until("stored", |node| node.ends.contains_key(&ticket));
    assert!(a.ends[&ticket].is_stored());
    assert_eq!((a.texts(), a.logs.len()), (vec!["replicated".into(), "not replicated".into()], 1));
    replica.kill();
}

/// Has another hub read two entries whose own hub has not, and fails over to a Redis that lacks them. Returns false if the own
/// hub has read them, too: its reader gives up after some seconds.
fn another_hub_has_read_the_lost_events() -> bool {
    let mut master = Redis::start(&[]);
    let mut replica = replica_of(&master, &[]);
    let [of_a, of_b] = [(); 2].map(|()| Proxy::new(master.port));
    let mut a = Node::ready(&settings(&of_a.url()));
    let stream = publish_and_part(&mut a, &replica, 2);
    a.until("up", |node| node.store.status().is_up);
    let blocked = || -> Vec<String> {
        let list = master.call(&["CLIENT", "LIST"]);
        let is_blocked = |line: &&str| line.contains(" flags=b ");
        list.lines().filter(is_blocked).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let mut reader = Vec::new();
    eventually("the reader waits for entries", || {
        reader = blocked();
        reader.len() == 1
    });
    let mut b = Node::ready(&settings(&of_b.url()));
    b.until("up", |node| node.store.status().is_up);
    of_a.hold_reader();
    eventually("the reader does not wait any more", || !blocked().contains(&reader[0]));
    // The second is sent when the first has been acknowledged.
    let tickets = ["first", "second"].map(|text| {
        let before = master.call(&["XLEN", &stream]);
        let ticket = a.append(text);
        eventually("the master has it", || master.call(&["XLEN", &stream]) != before);
        ticket
    });
    b.until("all", |node| node.texts().len() == 3);
    a.pump();
    if tickets.iter().any(|ticket| a.ends.contains_key(ticket)) {
        return false;
    }
    of_b.refuse(true);
    for proxy in [&of_a, &of_b] {
        proxy.lead_to(replica.port);
        proxy.cut();
        proxy.release();
    }
    master.kill();
    a.until("the end of both", |node| tickets.iter().all(|ticket| node.ends.contains_key(ticket)));
    assert!(tickets.iter().all(|ticket| matches!(a.ends[ticket], End::Stored(1, _))), "{:?}", a.ends);
    assert_eq!((a.texts(), a.logs.len()), (vec!["first".into(), "second".into()], 2));
    assert!(a.log().began.reason.contains("acknowledged"), "{}", a.log().began.reason);
    of_b.refuse(false);
    b.until("the same epoch", |node| node.texts() == a.texts());
    assert_eq!(a.log().began.history.epoch, b.log().began.history.epoch);
    replica.kill();
    true
}

#[test]
fn an_entry_that_another_hub_has_read_before_a_failover_is_sent_again_in_another_epoch() {
    if has("redis-server") {
        assert!((0..10).any(|_| another_hub_has_read_the_lost_events()), "the reader was faster, ten times");
    }
}

#[test]
fn a_missing_entry_is_noticed_when_others_have_published_since() {
    let mut master = redis!();
    let replica = replica_of(&master, &[]);
    let proxy = Proxy::new(master.port);
    let mut a = Node::ready(&settings(&proxy.url()));
    publish_and_part(&mut a, &replica, 2);
    assert!(a.publish("not replicated").is_stored());
    proxy.refuse(true);
    proxy.cut();
    master.kill();
    let mut b = Node::ready(&settings(&replica.url()));
    assert!(b.publish("newer").is_stored());
    assert_eq!(b.log().began.history.epoch, a.log().began.history.epoch);
    proxy.lead_to(replica.port);
    proxy.refuse(false);
    for node in [&mut a, &mut b] {
        node.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
        assert_ne!(node.logs[0].began.history.epoch, node.logs[1].began.history.epoch);
        assert!(node.log().began.reason.contains("lacks the entry"), "{}", node.log().began.reason);
    }
}
