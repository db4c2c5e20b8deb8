//! Redis and nginx with nchan, each with its own port and folder. They end with their values.

use crate::DEADLINE;
use redis::{Connection, IntoConnectionInfo};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A new folder, which is removed with its value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("eventsource-stores-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that serves a port of 127.0.0.1.
#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a program");
        let server = Self { child, port };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the port {port} is not served");
            sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // so that nginx ends its workers
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A Redis without files.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    _folder: Folder,
}

impl Redis {
    pub fn start() -> Self {
        let folder = Folder::new();
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path());
        Self { server: Server::start(command, port), _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.server.port)
    }

    pub fn connect(&self) -> Connection {
        let info = self.url().into_connection_info().expect("a URL");
        let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
        let client = redis::Client::open(info).expect("a URL");
        client.get_connection().expect("a connection")
    }
}

/// What Redis says that it has done.
pub struct Meter(Connection);

impl Meter {
    pub fn new(redis: &Redis) -> Self {
        Self(redis.connect())
    }

    /// Returns Redis' CPU time.
    pub fn cpu(&mut self) -> Duration {
        let seconds = |name| self.field("cpu", name).parse::<f64>().expect("seconds");
        let parts = ["used_cpu_sys:", "used_cpu_user:"].map(seconds);
        Duration::from_secs_f64(parts[0] + parts[1])
    }

    /// Returns how many commands Redis has carried out, INFO not counted.
    pub fn commands(&mut self) -> u64 {
        let text = self.info("commandstats");
        let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
        text.lines().filter(|line| !line.starts_with("cmdstat_info:")).filter_map(calls).sum()
    }

    fn field(&mut self, section: &str, name: &str) -> String {
        let text = self.info(section);
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a field").trim().to_owned()
    }

    fn info(&mut self, section: &str) -> String {
        redis::cmd("INFO").arg(section).query(&mut self.0).expect("an answer")
    }
}

/// nginx with one worker and nchan, whose channel is in Redis: POST /publish, GET /events.
#[derive(Debug)]
pub struct Nchan {
    server: Server,
    _folder: Folder,
}

const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

impl Nchan {
    /// Whether nginx and nchan are installed (`apt-get install nginx libnginx-mod-nchan`).
    pub fn is_installed() -> bool {
        Path::new(NCHAN).exists()
    }

    pub fn start(redis: &Redis) -> Self {
        let folder = Folder::new();
        let port = free_port();
        let path = folder.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let kept = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"];
        let kept = kept.map(|name| format!("{name}_temp_path {path}/{name};\n")).concat();
        let text = format!(
            "load_module {NCHAN};\n{user}\ndaemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr warn;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                {kept}
                nchan_shared_memory_size 128m;
                upstream redis {{ nchan_redis_server {}; }}
                server {{
                    listen 127.0.0.1:{port} backlog=1024;
                    location = /events {{
                        nchan_subscriber eventsource;
                        nchan_channel_id all;
                        nchan_redis_pass redis;
                        nchan_subscriber_first_message newest;
                    }}
                    location = /publish {{
                        nchan_publisher;
                        nchan_channel_id all;
                        nchan_redis_pass redis;
                        nchan_message_buffer_length 1000;
                        nchan_message_timeout 60m;
                        keepalive_requests 100000000;
                    }}
                }}
            }}\n",
            redis.url()
        );
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text).expect("a file");
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(config);
        let server = Server::start(command, port);
        sleep(Duration::from_secs(1)); // it serves before it has connected to Redis
        Self { server, _folder: folder }
    }

    /// Returns a stream of the channel.
    pub fn subscribe(&self) -> TcpStream {
        let mut socket = self.connect();
        socket
            .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            .expect("a connection");
        socket
    }

    pub fn publisher(&self) -> Poster {
        Poster { socket: self.connect(), room: Vec::new() }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.server.port)).expect("a connection");
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket
    }
}

/// A persistent connection that publishes to nchan.
#[derive(Debug)]
pub struct Poster {
    socket: TcpStream,
    room: Vec<u8>,
}

impl Poster {
    /// Publishes, and waits for the answer.
    pub fn publish(&mut self, data: &str) {
        let length = data.len();
        let request = format!(
            "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{data}"
        );
        self.socket.write_all(request.as_bytes()).expect("a connection");
        self.room.clear();
        while !is_whole(&self.room) {
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).expect("an answer");
            assert!(count > 0, "nchan has closed the connection");
            self.room.extend_from_slice(&bytes[..count]);
        }
        assert!(self.room.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&self.room));
    }
}

/// Returns true if an answer is complete.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).expect("a length");
    body.len() >= length
}
