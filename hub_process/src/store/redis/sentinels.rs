//! Which Redis is the master: what Sentinels say.
//!
//! The client for Sentinels of the crate `redis` is not used, because it connects without a timeout.

use super::connection::{CallError, Refusal};
use super::endpoint::Endpoint;
use redis::{cmd, RedisConnectionInfo, Value};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// The parts of a URL of Sentinels.
struct Sentinels<'a> {
    hosts: Vec<&'a str>,
    master: &'a str,
    /// The URL of a node, with `HOST` for its address.
    node: String,
    /// The URL of a Sentinel, with a login if it needs one.
    sentinel: String,
}

impl Endpoint {
    /// Returns the Redis that may be the master now: all that Sentinels name, that of most Sentinels first.
    ///
    /// All Sentinels are asked at the same time: one that is silent costs its time only if the others do not agree.
    pub fn masters(&self) -> Result<Masters, CallError> {
        let (answer, answers) = mpsc::channel();
        let hosts: Vec<String> = self.sentinels()?.map_or_else(Vec::new, |sentinels| sentinels.addresses().collect());
        let voters = hosts.len().max(1);
        if !self.has_sentinels() {
            let _ = answer.send(Ok(self.url.clone()));
        }
        for host in hosts {
            let (endpoint, answer) = (self.clone(), answer.clone());
            let ask = move || drop(answer.send(endpoint.ask(&host)));
            let started = thread::Builder::new().name("redis-ask".into()).spawn(ask);
            started.map_err(|error| CallError::Cut(error.to_string()))?;
        }
        let deadline = Some(Instant::now() + 2 * self.timeout);
        let fault = CallError::Cut("the Sentinels do not answer".into());
        Ok(Masters { answers, deadline, voters, votes: BTreeMap::new(), tried: Vec::new(), fault })
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

    fn sentinels(&self) -> Result<Option<Sentinels<'_>>, CallError> {
        let Some((scheme, rest)) = self.url.split_once("-sentinel://") else { return Ok(None) };
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(CallError::Invalid(
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
    fn ask(&self, host: &str) -> Result<String, CallError> {
        let Some(sentinels) = self.sentinels()? else { return Ok(self.url.clone()) };
        self.ask_for(&sentinels, host).map_err(|fault| {
            CallError::Cut(match fault {
                CallError::Cut(why) => format!("Sentinel {host}: {why}"),
                fault => format!("Sentinel {host} {fault}"),
            })
        })
    }

    fn ask_for(&self, sentinels: &Sentinels<'_>, host: &str) -> Result<String, CallError> {
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
                Err(CallError::Refused(refusal)) if needs_login(&refusal) => self.query(info, &query)?,
                answer => answer?,
            },
            _ => self.query(info, &query)?,
        };
        let Value::Array(parts) = answer else {
            return Err(CallError::Cut(format!("knows no master {}", sentinels.master)));
        };
        let part = |index: usize| parts.get(index).and_then(super::entry::text).map(String::from_utf8_lossy);
        let (Some(ip), Some(port)) = (part(0), part(1)) else {
            return Err(CallError::Cut("its answer is not an address".into()));
        };
        let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        Ok(sentinels.node.replacen("HOST/", &format!("{address}/"), 1))
    }
}

impl Sentinels<'_> {
    /// Returns the address of each Sentinel.
    fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        let has_port = |host: &str| host.rfind(':') > host.rfind(']');
        self.hosts.iter().map(move |host| if has_port(host) { (*host).into() } else { format!("{host}:26379") })
    }
}

/// The answer of Sentinels: the URLs of masters, and for each whether most Sentinels name it.
pub struct Masters {
    answers: mpsc::Receiver<Result<String, CallError>>,
    /// Until when answers may come; none when no more do.
    deadline: Option<Instant>,
    voters: usize,
    votes: BTreeMap<String, usize>,
    tried: Vec<String>,
    /// Why a Sentinel names no master.
    pub fault: CallError,
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
