//! Which Redis is the master: what Sentinels say.
//!
//! The client for Sentinels of the crate `redis` is not used, because it connects without a timeout.

use super::connection::CallError;
use super::endpoint::Endpoint;
use eventsource_xs::remote::calls::spawn_thread;
use eventsource_xs::wire::RedisSettings;
use redis::{cmd, RedisConnectionInfo};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Instant;

impl Endpoint {
    /// Returns the Redis that may be the master now, at least one: that of most Sentinels first, and for each whether more than
    /// half of them name it. Of equal ones always the same is first, so that Sentinels that disagree do not send a hub to and
    /// fro.
    ///
    /// All Sentinels are asked at the same time: one that is silent costs its time only if the others do not agree.
    pub fn masters(&self) -> Result<Vec<(String, bool)>, CallError> {
        if !self.has_sentinels() {
            return Ok(vec![(self.settings.url.to_string(), true)]);
        }
        let hosts = self.settings.addresses();
        let (answer, answers) = mpsc::channel();
        for host in hosts.clone() {
            let (endpoint, answer) = (self.clone(), answer.clone());
            let ask = move || drop(answer.send(endpoint.ask(&host)));
            let started = spawn_thread("redis-ask", ask);
            started.map_err(|error| CallError::Cut(error.to_string()))?;
        }
        drop(answer);
        let deadline = Instant::now() + 2 * self.timeout();
        let (mut votes, mut fault) = (BTreeMap::new(), CallError::Cut("the Sentinels do not answer".into()));
        let is_of_most = |votes: &usize| 2 * votes > hosts.len();
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

    /// Asks a Sentinel for the URL of the master.
    fn ask(&self, host: &str) -> Result<String, CallError> {
        self.master_of(host).map_err(|fault| {
            CallError::Cut(match fault {
                CallError::Cut(why) => format!("Sentinel {host}: {why}"),
                fault => format!("Sentinel {host} {fault}"),
            })
        })
    }

    fn master_of(&self, host: &str) -> Result<String, CallError> {
        let RedisSettings { url, sentinel_login, .. } = &self.settings;
        let (scheme, rest) = url.split_once("-sentinel://").unwrap_or_default();
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (_, path) = place.split_once('/').unwrap_or_default();
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        let url_of = |login: &str, address: &str, database: &str| {
            let at = if login.is_empty() { "" } else { "@" };
            format!("{scheme}://{login}{at}{address}/{database}")
        };
        let own_login = if sentinel_login.is_empty() { login } else { sentinel_login };
        let info = self.info(&url_of(own_login, host, ""))?;
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let (info, open) = (info.clone().set_redis_settings(redis), info);
        let open = open.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let mut query = cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        // Sentinels often need no password where Redis does, and refuse one then.
        let answer: Option<(String, u16)> = match &sentinel_login[..] {
            "" => match self.query(open, &query) {
                Err(fault) if fault.is_one_of(&["NOAUTH", "NOPERM"]) => self.query(info, &query)?,
                answer => answer?,
            },
            _ => self.query(info, &query)?,
        };
        let (ip, port) = answer.ok_or_else(|| CallError::Cut(format!("knows no master {master}")))?;
        let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        Ok(url_of(login, &address, database))
    }
}
