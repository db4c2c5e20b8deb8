//! A Redis server of a test: a free port, a folder of its own, ended with the test.

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{bind, getsockname, socket_with, AddressFamily, SocketFlags, SocketType};
use rustix::process::{kill_process, Pid, Signal};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than any step takes, also on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Nothing that Redis has acknowledged is lost when it is killed. With `everysec` it may lose two seconds.
pub const PERSISTENT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Waits until a condition is true. Fails if it is not true before the deadline.
pub fn eventually(expected: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {expected}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The program of the server, which is also that of a Sentinel. EVENTSOURCE_XS_REDIS_SERVER names another one: of another
/// version, or that of Valkey.
fn server_program() -> String {
    std::env::var("EVENTSOURCE_XS_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// Returns whether a program is installed. Says so if it is not; with EVENTSOURCE_XS_FULL=1 the test fails.
pub fn has(program: &str) -> bool {
    let program = if program == "redis-server" { server_program() } else { program.into() };
    let argument = if program == "openssl" { "version" } else { "--version" };
    let is_there = Command::new(&program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_there {
        assert!(std::env::var_os("EVENTSOURCE_XS_FULL").is_none(), "{program} is missing");
        eprintln!("skipped: {program} is not installed");
    }
    is_there
}

/// Returns whether there are a server with TLS and openssl. Another server than Debian's may be built without TLS.
pub fn has_tls() -> bool {
    if !has("redis-server") || !has("openssl") {
        return false;
    }
    let words = ["--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere", "--tls-key-file", "/nowhere"];
    let output = Command::new(server_program()).args(words).output().expect("redis-server");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lacks = said.contains("Bad directive") || said.contains("Missing implement");
    if lacks {
        assert!(std::env::var_os("EVENTSOURCE_XS_REDIS_SERVER").is_some(), "no TLS: {said}");
        eprintln!("skipped: {} has no TLS", server_program());
    }
    !lacks
}

/// A port that a server can listen on. No other process is given it, from before the server starts until after it has ended:
/// it is bound here, but nobody listens.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _reserved: OwnedFd,
}

impl Port {
    /// Reserves a port of 127.0.0.1.
    pub fn reserve() -> Self {
        Self::reserve_on(Ipv4Addr::LOCALHOST.into()).expect("a free port")
    }

    /// Reserves a port of an address. Servers can bind it because they, too, set SO_REUSEADDR.
    pub fn reserve_on(address: IpAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::new(address, 0))?;
        let number = SocketAddr::try_from(getsockname(&socket)?)?.port();
        Ok(Self { number, _reserved: socket })
    }
}

/// Creates an empty folder.
pub fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("eventsource-redis-{}-{number}", std::process::id()));
    fs::create_dir(&folder).expect("a new folder");
    folder
}

pub struct Redis {
    pub port: u16,
    pub folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// What a command says before others, such as AUTH.
    pub login: Option<(String, String)>,
    _port: Port,
}

impl Redis {
    /// Starts a server with these settings beside its port and its folder.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at(Port::reserve(), arguments)
    }

    pub fn start_at(port: Port, arguments: &[&str]) -> Self {
        let (folder, number) = (new_folder(), port.number.to_string());
        let mut all = vec!["--dir", folder.to_str().expect("a path"), "--save", ""];
        for setting in [["--port", &number], ["--bind", "127.0.0.1"]] {
            if !arguments.contains(&setting[0]) {
                all.extend(setting);
            }
        }
        all.extend(arguments);
        let all = all.into_iter().map(str::to_owned).collect();
        Self::start_in(folder, port, all)
    }

    /// Starts a Sentinel. It has no settings on the command line.
    pub fn start_sentinel(configuration: &str) -> Self {
        let (folder, port) = (new_folder(), Port::reserve());
        let path = folder.join("sentinel.conf");
        fs::write(&path, configuration.replace("PORT", &port.number.to_string())).expect("a file");
        Self::start_in(folder, port, vec![text(&path), "--sentinel".into()])
    }

    fn start_in(folder: PathBuf, port: Port, arguments: Vec<String>) -> Self {
        let mut redis = Self { port: port.number, folder, arguments, child: None, login: None, _port: port };
        redis.run();
        redis
    }

    /// Starts the process, again if it was killed.
    pub fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = Command::new(server_program());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log);
        let child = self.child.insert(command.spawn().expect("redis-server"));
        let port = self.port;
        eventually("Redis accepts connections", || {
            let end = child.try_wait().expect("its end");
            assert_eq!(end, None, "it has ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        if self.login.is_none() && !self.arguments.windows(2).any(|pair| pair == ["--port", "0"]) {
            eventually("Redis has loaded its data", || {
                let answer = self.try_call(&["PING"]).unwrap_or_default();
                ["PONG", "NOAUTH", "NOPERM"].iter().any(|known| answer.contains(known))
            });
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the process without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process: it answers no more, and its connections stay.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues a process that was stopped.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)).expect("a process");
        kill_process(pid, signal).expect("the process exists");
    }

    /// Sends one command, and returns the answer as text: lists have a line for each element.
    pub fn call(&self, words: &[&str]) -> String {
        self.try_call(words).expect("an answer")
    }

    pub fn try_call(&self, words: &[&str]) -> io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut bytes = Vec::new();
        let mut reader = BufReader::new(socket.try_clone()?);
        if let Some((user, password)) = &self.login {
            write_command(&mut bytes, &["AUTH", user, password]);
            socket.write_all(&bytes)?;
            read_answer(&mut reader)?;
            bytes.clear();
        }
        write_command(&mut bytes, words);
        socket.write_all(&bytes)?;
        read_answer(&mut reader)
    }

    /// Returns the name of the hub's stream.
    pub fn stream(&self) -> String {
        self.keys("es:{shop}:*").pop().expect("a stream")
    }

    /// Returns how many entries the hub's stream has.
    pub fn entries(&self) -> u32 {
        self.call(&["XLEN", &self.stream()]).parse().expect("a number")
    }

    /// Returns all keys that match a pattern.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        self.call(&["KEYS", pattern]).lines().map(str::to_owned).filter(|key| !key.is_empty()).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write_command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "$" if rest == "-1" => Ok(String::new()),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().expect("a length") + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let count: i64 = rest.parse().expect("a length");
            let parts: io::Result<Vec<String>> = (0..count).map(|_| read_answer(reader)).collect();
            Ok(parts?.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    }
}

/// Returns a path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}
