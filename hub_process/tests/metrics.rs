//! `run --metrics`: what a monitor reads, and clients that are slow or send anything.

mod support;

use eventsource_xs::remote::{upgrade, CallConnection, Start};
use rustix::net::{bind, getsockname, socket, sockopt, AddressFamily, SocketType};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{event, eventually, kill, Asks, Scene, DEADLINE, PROGRAM};

/// An address that nobody else is given. A socket is bound to it and never listens, so the process may listen on it.
struct Address(SocketAddr, #[allow(dead_code)] OwnedFd);

impl Address {
    fn new() -> Self {
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&bound, true).expect("an option");
        bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = getsockname(&bound).expect("a name").try_into().expect("an address");
        Self(address, bound)
    }
}

/// A hub process that answers monitors. It ends with the scene.
fn run(scene: &Scene, address: &Address) -> Child {
    let metrics = format!("{},hub.example", address.0);
    let child = scene.command(&["run", "--metrics", &metrics]).spawn().expect("a process");
    eventually("the process listens", || scene.pid().is_some() && TcpStream::connect(address.0).is_ok());
    child
}

/// Sends bytes. Returns the whole answer, which no reset may cut off.
fn ask(address: &Address, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address.0).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let _ = stream.write_all(bytes); // the process may have answered before it has read everything
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end of the answer");
    String::from_utf8(answer).expect("UTF-8")
}

#[test]
fn a_monitor_reads_the_metrics_of_the_hub() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    scene.client().publish(&event("news", "hello")).expect("an id");
    let answer = ask(&address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in [
        "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Connection: close",
        &format!("Content-Length: {}", body.len()),
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert!(body.contains("\neventsource_published_total{hub=\"shop\"} 1\n") && body.ends_with("# EOF\n"), "{body}");
    let head_only = ask(&address, b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head_only.starts_with("HTTP/1.1 200 OK\r\n") && head_only.ends_with("\r\n\r\n"), "{head_only}");
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn a_monitor_reads_what_is_known_before_the_first_worker_comes() {
    for (store, line) in [
        ("memory", "eventsource_store_info{hub=\"shop\",kind=\"memory\"} 1"),
        // Nobody has asked for the store, so it is not down.
        ("redis://127.0.0.1:1", "eventsource_store_info{hub=\"shop\",kind=\"redis\"} 1"),
    ] {
        let (scene, address) = (Scene::new(), Address::new());
        let metrics = address.0.to_string();
        let mut child = scene.command(&["run", "--metrics", &metrics, "--store", store]).spawn().expect("a process");
        eventually("the process listens", || TcpStream::connect(address.0).is_ok());
        let answer = ask(&address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"), "{answer}");
        for line in [line, "eventsource_streams{hub=\"shop\"} 0", "eventsource_store_up{hub=\"shop\"} 1"] {
            assert!(answer.lines().any(|found| found == line), "{line}: {answer}");
        }
        kill(child.id());
        child.wait().expect("it has ended");
    }
}

#[test]
fn a_monitor_reads_that_the_store_has_not_begun() {
    let (scene, address) = (Scene::new(), Address::new());
    let words = ["run", "--metrics", &address.0.to_string(), "--store", "redis://127.0.0.1:1"];
    let mut child = scene.command(&words).spawn().expect("a process");
    let start = Start { program: None, needs_settings: false, timeout: Duration::from_millis(100) };
    eventually("the process listens", || TcpStream::connect(address.0).is_ok());
    assert!(CallConnection::connect(&start, &scene.place, None).is_err(), "nobody listens at the address of Redis");
    eventually("the store is down", || {
        let answer = ask(&address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        answer.lines().any(|line| line == "eventsource_store_up{hub=\"shop\"} 0")
    });
    kill(child.id());
    child.wait().expect("it has ended");
}

#[test]
fn each_program_of_a_process_has_another_start_as_its_counters_have() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    let began = || {
        let answer = ask(&address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (_, began) = answer.split_once("\neventsource_start_time_seconds{hub=\"shop\"} ").expect("the metric");
        began.split_whitespace().next().expect("a number").parse::<f64>().expect("a number")
    };
    let first = began();
    let age = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64() - first;
    assert!((0.0..DEADLINE.as_secs_f64()).contains(&age), "{age}");
    scene.upgrade();
    let second = began();
    assert!(second > first);
    kill(child.id());
    child.wait().expect("it has ended");
    let mut child = run(&scene, &address);
    assert!(began() > second);
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn other_requests_get_a_status() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n".to_vec();
    let with_body = [head, vec![b'x'; 200_000]].concat();
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 16 << 10]].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "400"),
        (b"GET http://127.0.0.1/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200"),
        (b"GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example:9464\r\n\r\n", "403"),
        (b"\x16\x03\x01 hello\r\n\r\n", "400"),
        (&long, "431"),
        (&with_body, "200"),
    ] {
        let answer = ask(&address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    drop(scene);
    child.wait().expect("it has ended");
}

/// Connections that send nothing.
fn silent(address: &Address, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address.0).expect("a connection")).collect()
}

/// Whether the process still waits for the request of a client.
fn is_served(client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("an option");
    let read = (&*client).read(&mut [0]);
    client.set_nonblocking(false).expect("an option");
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn clients_that_send_nothing_delay_neither_the_hub_nor_a_monitor() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    let mut clients = Vec::new();
    eventually("a monitor is answered while six clients are silent", || {
        clients = silent(&address, 6);
        scene.client().publish(&event("news", "hello")).expect("an id");
        assert!(ask(&address, b"GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
        clients.iter().all(is_served)
    });
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn a_client_that_does_not_close_after_its_answer_makes_room_first() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    eventually("a silent client stays while many have their answer", || {
        let silent = silent(&address, 1);
        let answered: Vec<_> = (0..40)
            .map(|_| {
                let mut client = TcpStream::connect(address.0).expect("a connection");
                client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
                client.read_to_string(&mut String::new()).expect("an answer");
                client
            })
            .collect();
        answered.len() == 40 && is_served(&silent[0])
    });
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn the_oldest_silent_client_makes_room_for_a_monitor() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    eventually("a monitor is answered while many clients are silent", || {
        let clients = silent(&address, 100);
        assert!(ask(&address, b"GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
        let served = clients.iter().filter(|client| is_served(client)).count();
        assert!(served <= 16, "{served}");
        is_served(&clients[99]) && !is_served(&clients[0])
    });
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn an_upgrade_keeps_the_address() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    scene.client().publish(&event("news", "hello")).expect("an id");
    let start = Start { program: None, needs_settings: false, timeout: DEADLINE };
    upgrade(&start, &scene.place, Some(Path::new(PROGRAM))).expect("the same program");
    eventually("the new program listens", || TcpStream::connect(address.0).is_ok());
    let answer = ask(&address, b"GET /metrics HTTP/1.1\r\nHost: hub.example\r\n\r\n");
    assert!(answer.contains("\neventsource_published_total{hub=\"shop\"} 0\n"), "{answer}");
    drop(scene);
    child.wait().expect("it has ended");
}

#[test]
fn an_address_that_is_in_use_ends_the_process_at_once() {
    let (scene, address) = (Scene::new(), Address::new());
    let mut child = run(&scene, &address);
    let other = Scene::new();
    let log = other.folder.join("log");
    let mut command = other.command(&["run", "--metrics", &address.0.to_string()]);
    let status = command.stderr(File::create(&log).expect("a file")).status().expect("a process");
    let said = std::fs::read_to_string(&log).expect("a text");
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with(&format!("eventsource-hub: cannot listen on {} for --metrics: ", address.0)), "{said}");
    drop(scene);
    child.wait().expect("it has ended");
}
