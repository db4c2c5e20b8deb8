//! Which Redis is the master: what Sentinels say.
//!
//! The client for Sentinels of the crate `redis` is not used, because it connects without a timeout.

use super::connection::{CallError, Refusal};
use super::endpoint::Endpoint;
use redis::{cmd, RedisConnectionInfo};
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
    /// Returns the Redis that may be the master now, at least one: that of most Sentinels first, and for each whether more than
    /// half of them name it. Of equal ones always the same is first, so that Sentinels that disagree do not send a hub to and
    /// fro.
    ///
    /// All Sentinels are asked at the same time: one that is silent costs its time only if the others do not agree.
    pub fn masters(&self) -> Result<Vec<(String, bool)>, CallError> {
        let Some(sentinels) = self.sentinels()? else { return Ok(vec![(self.settings.url.to_string(), true)]) };
        let (answer, answers) = mpsc::channel();
        for host in sentinels.addresses() {
            let (endpoint, answer) = (self.clone(), answer.clone());
            let ask = move || drop(answer.send(endpoint.ask(&host)));
            let started = thread::Builder::new().name("redis-ask".into()).spawn(ask);
            started.map_err(|error| CallError::Cut(error.to_string()))?;
        }
        drop(answer);
        let deadline = Instant::now() + 2 * self.timeout();
        let (mut votes, mut fault) = (BTreeMap::new(), CallError::Cut("the Sentinels do not answer".into()));
        let is_of_most = |votes: &usize| 2 * votes > sentinels.hosts.len();
        while !votes.values().any(is_of_most) {
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(url)) => *votes.entry(url).or_default() += 1,
                Ok(Err(why)) => fault = why,
                Err(_) => break,
            }
        }
        let mut masters: Vec<(String, usize)> = votes.into_iter().collect();
        masters.sort_by_key(|(_, votes)| Reverse(*votes));
        if masters.is_empty() {
            return Err(fault);
        }
        Ok(masters.into_iter().map(|(url, votes)| (url, is_of_most(&votes))).collect())
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
        let Some((scheme, rest)) = self.settings.url.split_once("-sentinel://") else { return Ok(None) };
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(CallError::Invalid(
                "the URL lacks the name of the master: redis-sentinel://HOST:PORT,HOST:PORT/MASTER".into(),
            ));
        }
        let own = if self.settings.sentinel_login.is_empty() { login } else { &self.settings.sentinel_login };
        let [node, sentinel] = [login, own].map(|login| {
            let at = if login.is_empty() { "" } else { "@" };
            format!("{scheme}://{login}{at}HOST/")
        });
        let node = node + database;
        Ok(Some(Sentinels { hosts: hosts.split(',').collect(), master, node, sentinel }))
    }

    /// Asks a Sentinel for the URL of the master.
    fn ask(&self, host: &str) -> Result<String, CallError> {
        let Some(sentinels) = self.sentinels()? else { return Ok(self.settings.url.to_string()) };
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
        let answer: Option<(String, u16)> = match &self.settings.sentinel_login[..] {
            "" => match self.query(open, &query) {
                Err(CallError::Refused(refusal)) if needs_login(&refusal) => self.query(info, &query)?,
                answer => answer?,
            },
            _ => self.query(info, &query)?,
        };
        let (ip, port) = answer.ok_or_else(|| CallError::Cut(format!("knows no master {}", sentinels.master)))?;
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
