//! Where Redis is, connections to it, and what it refuses.

use super::ANSWER;
use eventsource_xs::wire::RedisSettings;
use redis::io::tcp::{socket2::TcpKeepalive, TcpSettings};
use redis::{
    cmd, Client, ClientTlsConfig, Cmd, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, Value,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// Why something went wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The URL can never work.
    Invalid(String),
    /// The connection cannot be made, or broke, or is silent.
    Cut(String),
    /// Redis refuses a command.
    Refused(Refusal),
}

/// What Redis answers if it refuses a command.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The first word, such as `OOM`.
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// Whether only people can help, so that trying again soon is of no use.
    pub fn needs_people(&self) -> bool {
        ["NOAUTH", "WRONGPASS", "NOPERM", "OLD", "LAYOUT", "WRONGTYPE"].contains(&&self.code[..])
    }

    /// Whether the command may succeed soon: Redis is starting, is a replica, or lacks replicas.
    pub fn is_passing(&self) -> bool {
        ["LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "UNBLOCKED"].contains(&&self.code[..])
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(out, "is not usable: {why}"),
            Self::Cut(why) => write!(out, "cannot be reached: {why}"),
            Self::Refused(refusal) => write!(out, "refuses: {}", refusal.message),
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                let message = "the user or the password is wrong".into();
                Self::Refused(Refusal { code: "WRONGPASS".into(), message })
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension => {
                let code = error.code().unwrap_or("ERR").to_owned();
                Self::Refused(Refusal { code, message: error.to_string() })
            }
            _ if error.is_timeout() => Self::Cut(format!("no answer ({error})")),
            _ => Self::Cut(error.to_string()),
        }
    }
}

/// A place of Redis: the settings that connections need.
#[derive(Clone)]
pub struct Place {
    url: String,
    sentinel_login: String,
    shown: String,
    ca: String,
    cert: String,
    key: String,
    timeout: Duration,
}

/// What a URL of Sentinels says.
struct Sentinels<'a> {
    hosts: Vec<&'a str>,
    master: &'a str,
    /// The URL of a node, with `HOST` for its address.
    node: String,
    /// That of a Sentinel, with a login that it perhaps needs.
    sentinel: String,
}

impl Place {
    pub fn new(settings: &RedisSettings) -> Self {
        let RedisSettings { url, sentinel_login, ca, cert, key, timeout, .. } = settings;
        let timeout = CONNECT.min(*timeout).max(Duration::from_millis(100));
        let [url, sentinel_login, ca, cert, key] = [url, sentinel_login, ca, cert, key].map(|text| text.to_string());
        Self { url, sentinel_login, shown: shown_address(&settings.shown_url()), ca, cert, key, timeout }
    }

    /// Returns the address for people: neither user nor password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether Sentinels know which Redis is the master.
    pub fn has_sentinels(&self) -> bool {
        self.url.starts_with("redis-sentinel://") || self.url.starts_with("rediss-sentinel://")
    }

    /// Returns the Redis that may be the master now: all that Sentinels name, that of most Sentinels first.
    ///
    /// All Sentinels are asked at the same time: one that is silent costs its time only if the others do not agree.
    pub fn masters(&self) -> Result<Masters, Fault> {
        let (answer, answers) = mpsc::channel();
        let hosts: Vec<String> = self.sentinels()?.map_or_else(Vec::new, |sentinels| sentinels.addresses().collect());
        let voters = hosts.len().max(1);
        if !self.has_sentinels() {
            let _ = answer.send(Ok(self.url.clone()));
        }
        for host in hosts {
            let (place, answer) = (self.clone(), answer.clone());
            let ask = move || drop(answer.send(place.ask(&host)));
            let started = thread::Builder::new().name("redis-ask".into()).spawn(ask);
            started.map_err(|error| Fault::Cut(error.to_string()))?;
        }
        let deadline = Some(Instant::now() + 2 * self.timeout);
        let fault = Fault::Cut("the Sentinels do not answer".into());
        Ok(Masters { answers, deadline, voters, votes: BTreeMap::new(), tried: Vec::new(), fault })
    }

    /// Connects to a Redis, if it takes entries. One that may not be asked for its role is taken for a master.
    pub fn master(&self, url: &str) -> Result<Link, Fault> {
        let mut link = self.connect(url)?;
        match link.call(&cmd("ROLE")) {
            Ok(Value::Array(parts)) if parts.first().and_then(super::entry::text) == Some(b"slave") => {
                let message = format!("{} is a replica", link.address);
                Err(Fault::Refused(Refusal { code: "READONLY".into(), message }))
            }
            Ok(_) | Err(Fault::Refused(_)) => Ok(link),
            Err(fault) => Err(fault),
        }
    }

    /// Returns another master than the current one, if the store should leave that. A master that works is not left because
    /// a few Sentinels are wrong, nor for a Redis that is none.
    pub fn other_master(&self, current: &str) -> Option<String> {
        for (url, is_of_most) in self.masters().ok()? {
            if url != current {
                let is_right = is_of_most || self.master(current).is_err();
                if is_right && self.master(&url).is_ok() {
                    return Some(url);
                }
            } else if is_of_most {
                return None;
            }
        }
        None
    }

    /// Connects to a Redis.
    pub fn connect(&self, url: &str) -> Result<Link, Fault> {
        let info = self.info(url)?;
        let address = info.addr().to_string();
        let connection = Client::open(info)?.get_connection_with_timeout(self.timeout)?;
        connection.set_write_timeout(Some(ANSWER))?;
        connection.set_read_timeout(Some(ANSWER))?;
        Ok(Link { connection, url: url.into(), address, patience: ANSWER })
    }

    fn info(&self, url: &str) -> Result<ConnectionInfo, Fault> {
        let info = url.into_connection_info().map_err(|error| Fault::Invalid(error.to_string()))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(Fault::Invalid("#insecure is not supported: name the authority's certificate instead".into()));
        }
        let with_certificates = |info: ConnectionInfo| -> Result<ConnectionInfo, Fault> {
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

    fn client_certificate(&self) -> Result<Option<ClientTlsConfig>, Fault> {
        if self.cert.is_empty() {
            return Ok(None);
        }
        Ok(Some(ClientTlsConfig { client_cert: read(&self.cert)?, client_key: read(&self.key)? }))
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(if self.ca.is_empty() { None } else { Some(read(&self.ca)?) })
    }

    fn sentinels(&self) -> Result<Option<Sentinels<'_>>, Fault> {
        let Some((scheme, rest)) = self.url.split_once("-sentinel://") else { return Ok(None) };
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(Fault::Invalid(
                "the URL lacks the name of the master: redis-sentinel://HOST:PORT,HOST:PORT/MASTER".into(),
            ));
        }
        let own = if self.sentinel_login.is_empty() { login } else { &self.sentinel_login };
        let [node, sentinel] = [login, own].map(|login| {
            let at = if login.is_empty() { "" } else { "@" };
            format!("{scheme}://{login}{at}HOST/")
        });
        let node = node + database;
        Ok(Some(Sentinels { hosts: hosts.split(',').collect(), master, node, sentinel }))
    }

    /// Asks a Sentinel for the URL of the master.
    fn ask(&self, host: &str) -> Result<String, Fault> {
        let Some(sentinels) = self.sentinels()? else { return Ok(self.url.clone()) };
        self.ask_for(&sentinels, host).map_err(|fault| {
            Fault::Cut(match fault {
                Fault::Cut(why) => format!("Sentinel {host}: {why}"),
                fault => format!("Sentinel {host} {fault}"),
            })
        })
    }

    fn ask_for(&self, sentinels: &Sentinels<'_>, host: &str) -> Result<String, Fault> {
        let info = self.info(&sentinels.sentinel.replacen("HOST/", host, 1))?;
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let (info, open) = (info.clone().set_redis_settings(redis), info);
        let open = open.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let mut query = cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(sentinels.master);
        // Sentinels often need no password where Redis does, and refuse one then.
        let needs_login = |refusal: &Refusal| ["NOAUTH", "NOPERM"].contains(&&refusal.code[..]);
        let answer = match &self.sentinel_login[..] {
            "" => match self.query(open, &query) {
                Err(Fault::Refused(refusal)) if needs_login(&refusal) => self.query(info, &query)?,
                answer => answer?,
            },
            _ => self.query(info, &query)?,
        };
        let Value::Array(parts) = answer else {
            return Err(Fault::Cut(format!("knows no master {}", sentinels.master)));
        };
        let part = |index: usize| parts.get(index).and_then(super::entry::text).map(String::from_utf8_lossy);
        let (Some(ip), Some(port)) = (part(0), part(1)) else {
            return Err(Fault::Cut("answers what is no address".into()));
        };
        let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        Ok(sentinels.node.replacen("HOST/", &format!("{address}/"), 1))
    }

    fn query(&self, info: ConnectionInfo, command: &Cmd) -> Result<Value, Fault> {
        let connection = Client::open(info)?.get_connection_with_timeout(self.timeout)?;
        connection.set_write_timeout(Some(ANSWER))?;
        let mut link = Link { connection, url: String::new(), address: String::new(), patience: Duration::ZERO };
        link.set_patience(self.timeout)?;
        link.call(command)
    }
}

impl Sentinels<'_> {
    /// Returns the address of each Sentinel.
    fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        let has_port = |host: &str| host.rfind(':') > host.rfind(']');
        self.hosts.iter().map(move |host| if has_port(host) { (*host).into() } else { format!("{host}:26379") })
    }
}

/// What Sentinels answer: the URLs of masters, each with whether most Sentinels name it.
pub struct Masters {
    answers: mpsc::Receiver<Result<String, Fault>>,
    /// Until when answers may come; none when no more do.
    deadline: Option<Instant>,
    voters: usize,
    votes: BTreeMap<String, usize>,
    tried: Vec<String>,
    /// Why a Sentinel names no master.
    pub fault: Fault,
}

impl Masters {
    /// Returns the master that most Sentinels name of those that were not returned yet; of equal ones always the same, so
    /// that Sentinels that disagree do not send a hub to and fro.
    fn best(&self) -> Option<(&String, usize)> {
        let others = self.votes.iter().filter(|(url, _)| !self.tried.contains(url));
        others.map(|(url, votes)| (url, *votes)).max_by_key(|(url, votes)| (*votes, Reverse(*url)))
    }
}

impl Iterator for Masters {
    type Item = (String, bool);

    fn next(&mut self) -> Option<(String, bool)> {
        loop {
            let best = self.best().map(|(url, votes)| (url.clone(), 2 * votes > self.voters));
            let Some(deadline) = self.deadline.filter(|_| !matches!(best, Some((_, true)))) else {
                self.tried.extend(best.iter().map(|(url, _)| url.clone()));
                return best;
            };
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(url)) => *self.votes.entry(url).or_default() += 1,
                Ok(Err(fault)) => self.fault = fault,
                Err(_) => self.deadline = None,
            }
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| Fault::Cut(format!("{path}: {error}")))
}

/// Returns the hosts of a URL without user and password, for messages.
fn shown_address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches("/0").trim_end_matches('/').to_owned()
}

/// A connection.
pub struct Link {
    connection: Connection,
    /// What it was made with.
    pub url: String,
    /// The host and the port.
    pub address: String,
    patience: Duration,
}

impl Link {
    /// Sets how long an answer may take.
    pub fn set_patience(&mut self, patience: Duration) -> Result<(), Fault> {
        if self.patience != patience {
            self.connection.set_read_timeout(Some(patience))?;
            self.patience = patience;
        }
        Ok(())
    }

    /// Sends commands.
    pub fn send(&mut self, commands: &[u8]) -> Result<(), Fault> {
        Ok(self.connection.send_packed_command(commands)?)
    }

    /// Takes the answer to one command. A refusal leaves the connection usable, any other error does not: the crate's own
    /// pipelines would wait for each answer of a silent connection in turn.
    pub fn receive(&mut self) -> Result<Value, Fault> {
        match self.connection.recv_response()? {
            Value::ServerError(error) => {
                let code = error.code().to_owned();
                let message = format!("{code} {}", error.details().unwrap_or_default());
                Err(Fault::Refused(Refusal { code, message: message.trim_end().into() }))
            }
            value => Ok(value),
        }
    }

    /// Sends a command, and takes the answer.
    pub fn call(&mut self, command: &Cmd) -> Result<Value, Fault> {
        self.send(&command.get_packed_command())?;
        self.receive()
    }

    /// Sends commands together, and takes all answers.
    pub fn calls<const N: usize>(&mut self, commands: [&Cmd; N]) -> Result<[Result<Value, Refusal>; N], Fault> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
        self.send(&bytes)?;
        let mut cut = None;
        let answers = commands.map(|_| match &cut {
            Some(_) => Ok(Value::Nil),
            None => self.receive().map_or_else(
                |fault| match fault {
                    Fault::Refused(refusal) => Err(refusal),
                    fault => {
                        cut = Some(fault);
                        Ok(Value::Nil)
                    }
                },
                Ok,
            ),
        });
        cut.map_or(Ok(answers), Err)
    }
}
